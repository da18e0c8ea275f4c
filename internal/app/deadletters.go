package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	ops "github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/pkg/database"
	rabbitconn "github.com/smap-platform/identity/pkg/rabbitmq"
)

// DeadLetters lists, replays and discards the dead letters of one queue.
type DeadLetters struct {
	tool  *rabbitmq.DeadLetters
	queue string
	mails *mailsql.Ledger // nil for queues without mails
	// PerSecond bounds how many letters are replayed or discarded; 0: as many as the broker takes.
	PerSecond int
	// Progress, where set, is called with every letter: how many were seen, and how many of them handled.
	Progress func(seen, handled int)
	// Failed, where set, is called with each letter that stays because something went wrong with it alone. Unless it returns
	// an error, the others have their turn.
	Failed func(event.DeadLetter, error) error
}

// NewDeadLetters returns the dead letters of queue. db may be nil where nothing is replayed.
func NewDeadLetters(cfg config.Config, db *database.DB, queue string) *DeadLetters {
	connection := rabbitconn.Options{URL: string(cfg.RabbitMQ.URL), Name: "identity-dlq", Log: zerolog.Nop()}
	d := &DeadLetters{queue: queue, tool: rabbitmq.NewDeadLetters(connection, Queues(cfg))}
	if slices.Contains(mailQueues, queue) && db != nil {
		d.mails = mailsql.NewLedger(db)
	}
	return d
}

// List calls each with every selected dead letter, oldest first.
func (d *DeadLetters) List(ctx context.Context, s ops.Selection, each func(event.DeadLetter) error) error {
	return d.walk(ctx, s, func(l rabbitmq.Letter) (rabbitmq.Handling, string, error) {
		return rabbitmq.Keep, "", each(l.DeadLetter)
	}, nil)
}

// Show calls each with the details of every selected dead letter, oldest first.
func (d *DeadLetters) Show(ctx context.Context, s ops.Selection, each func(ops.Detail) error) error {
	return d.walk(ctx, s, func(l rabbitmq.Letter) (rabbitmq.Handling, string, error) {
		return rabbitmq.Keep, "", each(detail(l))
	}, nil)
}

func detail(l rabbitmq.Letter) ops.Detail {
	d := ops.Detail{
		DeadLetter:  l.DeadLetter,
		ContentType: l.Message.ContentType,
		Moves:       l.Message.Moves(),
		BodyDigest:  fmt.Sprintf("%x", sha256.Sum256(l.Message.Body)),
		Headers:     map[string]string{},
	}
	if !l.Message.Timestamp.IsZero() {
		d.Published = l.Message.Timestamp.UTC().Format(time.RFC3339)
	}
	for name, value := range l.Message.Headers {
		if !event.OwnHeader(name) {
			value = fmt.Sprintf("(%d bytes)", len(value))
		}
		d.Headers[name] = value
	}
	return d
}

// Replay moves the selected dead letters back to their queue with their attempts reset, and calls each with what became
// of them. A mail that the ledger knows as accepted is only removed.
func (d *DeadLetters) Replay(ctx context.Context, s ops.Selection, each func(ops.Outcome) error) error {
	return d.walk(ctx, s, func(l rabbitmq.Letter) (rabbitmq.Handling, string, error) {
		if d.mails != nil {
			state, err := d.mails.State(ctx, l.EventID)
			if err != nil {
				return rabbitmq.Keep, "", err
			}
			if state == notification.StateAccepted {
				return rabbitmq.Remove, ops.AlreadySent, nil
			}
			if err := d.mails.Reopen(ctx, l.EventID, database.Truncate(time.Now())); err != nil {
				return rabbitmq.Keep, "", err
			}
		}
		return rabbitmq.Replay, ops.Replayed, nil
	}, each)
}

// Discard removes the selected dead letters for good, and calls each with every one.
func (d *DeadLetters) Discard(ctx context.Context, s ops.Selection, each func(ops.Outcome) error) error {
	return d.walk(ctx, s, func(rabbitmq.Letter) (rabbitmq.Handling, string, error) {
		return rabbitmq.Remove, ops.Discarded, nil
	}, each)
}

// walk does with each selected letter what decide says. An id that is not found is an error, once every letter was seen.
func (d *DeadLetters) walk(ctx context.Context, s ops.Selection,
	decide func(rabbitmq.Letter) (rabbitmq.Handling, string, error), each func(ops.Outcome) error) error {
	pace := time.NewTicker(time.Second / time.Duration(max(d.PerSecond, 1)))
	defer pace.Stop()
	missing := slices.Clone(s.IDs)
	now := time.Now()
	seen, handled := 0, 0
	d.tool.Refused = d.Failed
	var action string
	var failed error
	_, err := d.tool.Walk(ctx, d.queue, func(l rabbitmq.Letter) (handling rabbitmq.Handling, err error) {
		if failed != nil {
			return rabbitmq.Keep, failed
		}
		seen++
		if d.Progress != nil {
			d.Progress(seen, handled)
		}
		if !s.Matches(l.DeadLetter, now) {
			return rabbitmq.Keep, nil
		}
		missing = slices.DeleteFunc(missing, func(id string) bool { return id == l.EventID })
		if each != nil && d.PerSecond > 0 {
			select {
			case <-pace.C:
			case <-ctx.Done():
				return rabbitmq.Keep, ctx.Err()
			}
		}
		handling, action, err = decide(l)
		if err != nil && d.Failed != nil && ctx.Err() == nil {
			return rabbitmq.Keep, d.Failed(l.DeadLetter, err)
		}
		return handling, err
	}, func(l event.DeadLetter) {
		handled++
		failed = each(ops.Outcome{DeadLetter: l, Action: action})
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, id := range missing {
		err = errors.Join(err, fmt.Errorf("no dead letter of %s has the event id %q", d.queue, id))
	}
	return err
}
