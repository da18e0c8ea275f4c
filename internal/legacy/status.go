package legacy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
	"github.com/smap-platform/identity/internal/heartbeat"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/rabbitmq"
)

const (
	// Recently is how long a process that has written legacy copies counts against a step that ends them: its last
	// rows may still be under way.
	Recently = 5 * time.Minute
	// figuresLag is how late the management API's figures can be, and a second more: a queue reports every 5 s, and
	// what it reports is collected every 5 s.
	figuresLag = 11 * time.Second
)

// Facts is everything a step is judged by. What is unknown is nil in the states of the broker, and listed with its
// reason in Unknown.
type Facts struct {
	At        time.Time             `json:"at"`
	Topic     eventmq.ExchangeState `json:"topic_exchange"`
	Fanout    eventmq.ExchangeState `json:"fanout_exchange"`
	Old       eventmq.QueueState    `json:"fanout_queue"`
	Email     Ladder                `json:"email"`          // where topic copies go
	Legacy    Ladder                `json:"legacy"`         // where the mails of the old queue are sent from
	Others    []eventmq.QueueState  `json:"others"`         // shown, and not judged
	Bindings  []eventmq.Binding     `json:"bindings"`       // with the old exchange as source or destination
	OfTopic   []eventmq.Binding     `json:"topic_bindings"` // with the topic exchange as source
	Waiting   int                   `json:"outbox_rows"`    // legacy copies that have not left, given-up ones included
	Processes []heartbeat.Process   `json:"processes"`      // all that have reported within Recently
	Shadows   Shadows               `json:"comparison"`
	Unknown   []string              `json:"cannot_know"`
}

// Ladder is a queue of ours with those its messages go to when they fail.
type Ladder struct {
	Main  eventmq.QueueState   `json:"queue"`
	Retry []eventmq.QueueState `json:"retry"`
	Dead  eventmq.QueueState   `json:"dead"`
}

// ToolDeps are what a Tool needs; all but ManagementURL are required.
type ToolDeps struct {
	DB            *database.DB
	Clock         Clock
	Audit         audit.Recorder
	Connection    rabbitmq.Options
	ManagementURL string        // of the broker's management API; see rabbitmq.NewInspector
	Queues        []event.Queue // all of this service
	Email         string        // which of them takes mails from the topic
	Legacy        string        // which of them takes the mails of the old queue
}

// Tool is the operator's view on the migration.
type Tool struct {
	deps  ToolDeps
	pause func(context.Context) error // between the two looks of a cleanup
}

// NewTool returns a Tool.
func NewTool(d ToolDeps) *Tool { return &Tool{deps: d, pause: waitForFigures} }

// Facts gathers what there is to know. Comparisons are counted from since ago on.
func (t *Tool) Facts(ctx context.Context, since time.Duration) (f Facts, err error) {
	f.At = t.deps.Clock.Now()
	if f.Processes, err = heartbeat.List(ctx, t.deps.DB, f.At.Add(-Recently)); err != nil {
		return f, err
	}
	if f.Shadows, err = ReadShadows(ctx, t.deps.DB, f.At.Add(-since)); err != nil {
		return f, err
	}
	depth, err := Rows.Depth(ctx, t.deps.DB, f.At)
	if err != nil {
		return f, err
	}
	f.Waiting = depth.Rows + depth.Failed
	names := []string{Queue}
	for _, q := range t.deps.Queues {
		names = append(names, q.Names()...)
	}
	found, err := eventmq.NewInspector(t.deps.Connection, t.deps.ManagementURL).Inspect(ctx, Exchange, names)
	if err != nil {
		return f, err
	}
	f.Topic, f.Fanout, f.Unknown = found.Topic, found.Exchange, found.Unknown
	f.Bindings, f.OfTopic = found.Bindings, found.OfTopic
	f.Old = found.Queue(Queue)
	shown := []string{Queue}
	for _, q := range t.deps.Queues {
		if ladder := map[string]*Ladder{t.deps.Email: &f.Email, t.deps.Legacy: &f.Legacy}[q.Name]; ladder != nil {
			ladder.fill(found, q)
			shown = append(shown, q.Names()...)
		}
	}
	f.Others = slices.DeleteFunc(found.Queues, func(q eventmq.QueueState) bool { return slices.Contains(shown, q.Name) })
	return f, nil
}

func (l *Ladder) fill(found eventmq.Inspection, q event.Queue) {
	l.Main, l.Dead = found.Queue(q.Name), found.Queue(q.DeadQueue())
	for i := range q.Retry.Levels {
		l.Retry = append(l.Retry, found.Queue(q.RetryQueue(i)))
	}
}

// Cleanup is what became of a cleanup. Nothing is Removed unless the Verdict is safe.
type Cleanup struct {
	Verdict Verdict
	Removed []string // in their order; of a dry run, what would have been
}

// Cleaned is what the record calls it.
const Cleaned audit.Action = "fanout.cleaned"

// CleanUp deletes the previous release's queue and exchange if JudgeCleanup permits it, or only says what it would
// delete. It looks twice, as far apart as the management API's figures can be late: what is in flight at the first look
// shows in the second. What is deleted before an error stays in Removed. While neither exists there is nothing to judge.
func (t *Tool) CleanUp(ctx context.Context, dryRun bool) (c Cleanup, err error) {
	var f Facts
	for look := range 2 {
		if look > 0 {
			if err := t.pause(ctx); err != nil {
				return c, err
			}
		}
		if f, err = t.Facts(ctx, 0); err != nil {
			return c, err
		}
		if !f.Old.Exists && !f.Fanout.Exists {
			c.Verdict.Safe = true
			return c, nil
		}
		if c.Verdict = JudgeCleanup(f); !c.Verdict.Safe {
			return c, nil
		}
	}
	if !dryRun { // recorded before, because the broker knows no transaction
		err = t.deps.DB.WithinTx(ctx, func(ctx context.Context) error {
			return t.deps.Audit.Record(ctx, audit.Entry{Action: Cleaned, SubjectID: Exchange})
		})
	}
	if err == nil {
		c.Removed, err = t.remove(ctx, f, dryRun)
	}
	return c, err
}

// remove deletes what exists of the old topology, the queue first, and returns what was deleted. The broker refuses a
// queue that holds messages, and an exchange that anything is bound to. These refusals are the last guard and not a
// sufficient one: the broker does not see messages that a reader holds, readers, or publishers.
func (t *Tool) remove(ctx context.Context, f Facts, dryRun bool) (removed []string, err error) {
	conn, err := rabbitmq.Dial(ctx, t.deps.Connection)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is lost with it
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("legacy: opening a channel: %w", err)
	}
	for _, part := range []struct {
		exists bool
		name   string
		remove func() error
	}{
		{f.Old.Exists, "queue " + Queue, func() error { _, err := ch.QueueDelete(Queue, false, true, false); return err }},
		{f.Fanout.Exists, "exchange " + Exchange, func() error { return ch.ExchangeDelete(Exchange, true, false) }},
	} {
		if part.exists && !dryRun {
			err = part.remove()
		}
		if err != nil {
			return removed, fmt.Errorf("legacy: deleting %s: %w", part.name, err)
		}
		if part.exists {
			removed = append(removed, part.name)
		}
	}
	return removed, nil
}

func waitForFigures(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(figuresLag):
		return nil
	}
}
