package usecase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
)

const (
	// erasePage is how many users are looked up at a time.
	erasePage = 100
	// erasePatience is how many users in a row may fail before the rest is left to the next run: what they need is unavailable.
	erasePatience = 10
	// eraseMargin is longer than a transaction lasts: who has begun to register before has a row by now, or never will.
	eraseMargin = time.Minute
)

// EraserDeps are the dependencies of an [Eraser]. All are required.
type EraserDeps struct {
	Tx       authentication.Transactor
	Users    authentication.ErasureRepository
	Limits   authentication.LimitEraser
	CodeKeys authentication.CodeKeys
	// Rows are what other domains have in the database. They are erased in one transaction with the user.
	Rows []authentication.DataEraser
	// States are what is elsewhere. They are erased after that transaction, until it succeeds.
	States []authentication.DataEraser
	Audit  audit.Recorder
	Clock  authentication.Clock
	Failed func(ctx context.Context, userID string, err error) // called for each user who is left to the next run
}

// Eraser erases the personal data of users who were deleted. Any number of processes may run one.
type Eraser struct{ deps EraserDeps }

// NewEraser returns an [Eraser].
func NewEraser(d EraserDeps) *Eraser { return &Eraser{d} }

// Erase erases users who were deleted at then or before, and over a minute ago, and returns how many are erased
// everywhere. One that fails, or whose states are unavailable, stops no other, and is erased by a later call: the errors
// of all are returned together.
//
// First everything in the database goes in one commit, the address by which it is found with it; then the states, which
// are known by the id; then the user is marked, with the one entry of the record. What was cut off in between the next
// call completes.
func (e *Eraser) Erase(ctx context.Context, then time.Time) (erased int64, err error) {
	if latest := e.deps.Clock.Now().Add(-eraseMargin); then.After(latest) {
		then = latest
	}
	run := erasure{Eraser: e}
	defer func() { erased, err = run.erased, errors.Join(append(run.failed, err)...) }()
	var after authentication.DeletedUser
	for {
		page, err := e.deps.Users.Due(ctx, then, after, erasePage)
		if err != nil || len(page) == 0 {
			return 0, err
		}
		for _, user := range page {
			if err := run.erase(ctx, user); err != nil {
				run.failed = append(run.failed, fmt.Errorf("authentication: erasing user %s: %w", user.ID, err))
				e.deps.Failed(ctx, user.ID, err)
			}
			if run.rowsFailed == erasePatience || ctx.Err() != nil {
				return 0, errors.New("authentication: the other users were not tried")
			}
		}
		after = page[len(page)-1]
	}
}

// erasure is one call of Erase.
type erasure struct {
	*Eraser
	erased       int64
	failed       []error
	rowsFailed   int // users in a row
	statesFailed int // users in a row; once there are erasePatience the states of the others are left to the next run
}

func (r *erasure) erase(ctx context.Context, user authentication.DeletedUser) error {
	ours, err := r.eraseRows(ctx, user.ID)
	if err != nil {
		r.rowsFailed++
		return err
	}
	r.rowsFailed = 0
	if !ours || r.statesFailed == erasePatience {
		return nil
	}
	for _, states := range r.deps.States {
		if err := states.EraseUser(ctx, user); err != nil {
			r.statesFailed++
			return err
		}
	}
	r.statesFailed = 0
	marked, err := r.mark(ctx, user.ID)
	if marked {
		r.erased++
	}
	return err
}

// eraseRows erases everything about a user in the database, and reports whether nobody else is at it. It does nothing
// when that has been done before.
func (e *Eraser) eraseRows(ctx context.Context, id string) (ours bool, err error) {
	err = e.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		user, ok, err := e.deps.Users.LockDue(ctx, id)
		if ours = ok; err != nil || !ok || user.Emptied {
			return err
		}
		if user.Until.IsZero() {
			user.Until = e.deps.Clock.Now().Add(-eraseMargin)
		}
		if err := e.deps.Limits.Erase(ctx, e.deps.CodeKeys.LimitDigests(user.Email), user.Until); err != nil {
			return err
		}
		for _, rows := range e.deps.Rows {
			if err := rows.EraseUser(ctx, user); err != nil {
				return err
			}
		}
		return e.deps.Users.Erase(ctx, user)
	})
	return ours, err
}

// mark reports whether this call is the one that has marked the user.
func (e *Eraser) mark(ctx context.Context, id string) (marked bool, err error) {
	err = e.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) (err error) {
		if marked, err = e.deps.Users.MarkErased(ctx, id, e.deps.Clock.Now()); err != nil || !marked {
			return err
		}
		return e.deps.Audit.Record(ctx, audit.Entry{Action: audit.UserErased, UserID: id})
	})
	return marked && err == nil, err
}
