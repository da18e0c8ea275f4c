package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/internal/audit"
	auditsql "github.com/smap-platform/identity/internal/audit/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/outbox"
	"github.com/smap-platform/identity/internal/event/rabbitmq"
	invitationsql "github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/internal/subscription"
	subscriptionredis "github.com/smap-platform/identity/internal/subscription/repository/redisdb"
	subscriptionsql "github.com/smap-platform/identity/internal/subscription/repository/sqldb"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
)

// dataEraser is an [authentication.DataEraser] in the terms of the domain that has the data.
type dataEraser func(ctx context.Context, u authentication.DeletedUser) error

// EraseUser implements [authentication.DataEraser].
func (erase dataEraser) EraseUser(ctx context.Context, u authentication.DeletedUser) error {
	return erase(ctx, u)
}

// newEraser returns what erases the data of users who were deleted. docs/privacy.md lists what is where.
func (in *infra) newEraser() *authentications.Eraser {
	batches := invitations.NewEraser(invitationsql.NewBatches(in.db))
	trials := subscriptions.NewTrialKeeper(subscriptionsql.NewTrials(in.db), subscription.TrialKey(in.cfg.Secrets.TrialDigest))
	states := subscriptionredis.New(in.state)
	return authentications.NewEraser(authentications.EraserDeps{
		Tx:       in.longTx, // a report may be long
		Users:    authsql.NewErasure(in.db),
		Limits:   authsql.NewLimits(in.db),
		CodeKeys: codeKeys(in.cfg.Secrets),
		Rows: []authentication.DataEraser{
			dataEraser(func(ctx context.Context, u authentication.DeletedUser) error {
				return trials.KeepTrial(ctx, u.Email)
			}),
			dataEraser(func(ctx context.Context, u authentication.DeletedUser) error {
				return batches.EraseUser(ctx, u.ID, u.Email, u.Until)
			}),
			dataEraser(func(ctx context.Context, u authentication.DeletedUser) error {
				return mailsql.NewLedger(in.db).EraseRecipient(ctx, recipientDigests(in.cfg.Secrets, u.Email), u.Until)
			}),
			dataEraser(func(ctx context.Context, u authentication.DeletedUser) error {
				return auditsql.NewEntries(in.db).EraseUser(ctx, u.ID, u.Email, u.Until)
			}),
		},
		States: []authentication.DataEraser{
			dataEraser(func(ctx context.Context, u authentication.DeletedUser) error { return states.Delete(ctx, u.ID) }),
		},
		Audit: newRecorder(in.db, in.clock),
		Clock: in.clock,
		Failed: func(_ context.Context, userID string, err error) {
			in.log.Warn().Err(err).Str("user_id", userID).Msg("a deleted user is not erased everywhere yet; next try in an hour")
		},
	})
}

// eraseUsers erases the users who were deleted by then.
func (a *App) eraseUsers(ctx context.Context, then time.Time) (int64, error) {
	n, err := a.newEraser().Erase(ctx, then)
	a.metrics.usersErased.Add(float64(n))
	return n, err
}

// rowsPerDrop is how many rows one statement drops.
const rowsPerDrop = 1000

// eraseMails drops the mails in the database that were given up and are older than then: their events name whom they were
// for.
func (a *App) eraseMails(ctx context.Context, then time.Time) (dropped int64, err error) {
	for _, table := range []outbox.Table{outbox.Rows, legacyRows} {
		var n int64
		err := a.db.WithTxTimeout(inviteTx).WithinTxRetry(ctx, func(ctx context.Context) error {
			n = 0
			for {
				some, err := table.DropFailed(ctx, a.db, then, rowsPerDrop)
				n += some
				if err != nil || some < rowsPerDrop {
					return errors.Join(err, a.recordErased(ctx, audit.OutboxErased, "", string(table), n))
				}
			}
		})
		if err != nil {
			return dropped, err
		}
		a.metrics.mailsErased.WithLabelValues(string(table)).Add(float64(n))
		dropped += n
	}
	return dropped, nil
}

// recordErased records in the transaction of ctx how many mails are dropped from where; of none nothing. Entries with the same
// id, unless it is empty, are one entry.
func (in *infra) recordErased(ctx context.Context, action audit.Action, id, where string, n int64) error {
	if n == 0 {
		return nil
	}
	return newRecorder(in.db, in.clock).Record(ctx, audit.Entry{
		ID:        id,
		Action:    action,
		SubjectID: where,
		Details:   audit.Details{Reason: fmt.Sprintf("%d mails, older than ERASE_AFTER (%s)", n, in.cfg.Accounts.EraseAfter)},
	})
}

// letterWalker is [rabbitmq.DeadLetters].
type letterWalker interface {
	Walk(ctx context.Context, queue string, decide func(rabbitmq.Letter) (rabbitmq.Handling, error),
		settled func(event.DeadLetter)) (seen int, err error)
}

// eraseDeadLetters drops the dead letters of the queues of mails that are older than then. Where the broker is unavailable
// the next run does.
func (a *App) eraseDeadLetters(ctx context.Context, then time.Time) (dropped int64, err error) {
	var failed []error
	for _, q := range Queues(a.cfg) {
		if !slices.Contains(mailQueues, q.Name) {
			continue
		}
		n, err := a.eraseDeadLettersOf(ctx, q, then)
		a.metrics.mailsErased.WithLabelValues(q.DeadQueue()).Add(float64(n))
		dropped += n
		if err != nil && !errors.Is(err, rabbitmq.ErrBusy) { // another process, or an operator, is at it
			failed = append(failed, err)
		}
	}
	return dropped, errors.Join(failed...)
}

// eraseDeadLettersOf looks twice where there is something to drop, so that nothing is gone that is not recorded. Processes
// that see the same letters write the same entry.
func (a *App) eraseDeadLettersOf(ctx context.Context, q event.Queue, then time.Time) (dropped int64, err error) {
	var old int64
	entry := sha256.New()
	_, err = a.letters.Walk(ctx, q.Name, func(l rabbitmq.Letter) (rabbitmq.Handling, error) {
		if olderThan(l, then) {
			old++
			fmt.Fprintln(entry, q.Name, l.EventID, l.Message.Moves())
		}
		return rabbitmq.Keep, nil
	}, func(event.DeadLetter) {})
	if err != nil || old == 0 {
		return 0, err
	}
	err = a.db.WithinTxRetry(ctx, func(ctx context.Context) error {
		return a.recordErased(ctx, audit.DeadLettersErased, uuid.NewSHA1(uuid.Nil, entry.Sum(nil)).String(), q.Name, old)
	})
	if err != nil {
		return 0, err
	}
	_, err = a.letters.Walk(ctx, q.Name, func(l rabbitmq.Letter) (rabbitmq.Handling, error) {
		if dropped < old && olderThan(l, then) {
			return rabbitmq.Remove, nil
		}
		return rabbitmq.Keep, nil
	}, func(event.DeadLetter) { dropped++ })
	return dropped, err
}

// olderThan reports whether the event of a dead letter was published, or the letter died, at then or before.
func olderThan(l rabbitmq.Letter, then time.Time) bool {
	at := l.Message.Timestamp
	if died, err := time.Parse(time.RFC3339, l.DeadSince); err == nil && (at.IsZero() || died.Before(at)) {
		at = died
	}
	return !at.IsZero() && !at.After(then)
}
