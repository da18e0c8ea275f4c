package usecase

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smap-platform/identity/internal/invitation"
)

// PurgerDeps are the dependencies of a [Purger]. All are required.
type PurgerDeps struct {
	Invitations invitation.PurgeRepository
	Accounts    invitation.AccountEraser
}

// Purger deletes what is out of date. Any number of processes may run one.
type Purger struct{ deps PurgerDeps }

// NewPurger returns a [Purger].
func NewPurger(d PurgerDeps) *Purger { return &Purger{deps: d} }

// purgePatience is how many accounts in a row may fail, one by one, before the database counts as unavailable.
const purgePatience = 10

// PurgeExpired deletes the accounts of expired invitations that were never used, and returns how many: their addresses
// are free again. An account has one invitation at most, because an address with an account is not invited. An account
// that cannot be deleted is passed over, and named by the error that is returned at the end.
func (p *Purger) PurgeExpired(ctx context.Context, now time.Time) (deleted int64, err error) {
	var failed failures
	err = eachPage(func(after string) ([]invitation.Invitation, error) {
		return p.deps.Invitations.ExpiredPage(ctx, now, after, invitation.AccountChunk)
	}, func(page []invitation.Invitation) error {
		return failed.passOver(page, func(page []invitation.Invitation) error {
			n, err := p.deps.Accounts.DeleteInvited(ctx, userIDs(page), now)
			deleted += n
			return err
		})
	})
	return deleted, errors.Join(append(failed.errs, err)...)
}

// PurgeBatches deletes batches whose last mail was due before then, and returns how many: an upload that is repeated is
// not recognised any more. Of accounts that were never used and are deleted by now nothing stays, their addresses least
// of all. A batch with an account that cannot be erased stays, and the error that is returned at the end names both.
func (p *Purger) PurgeBatches(ctx context.Context, then time.Time) (deleted int64, err error) {
	var failed failures
	err = eachPage(func(after string) ([]invitation.Invitation, error) {
		return p.deps.Invitations.OldPage(ctx, then, after, invitation.AccountChunk)
	}, func(page []invitation.Invitation) error {
		return failed.passOver(page, func(page []invitation.Invitation) error {
			return p.deps.Accounts.EraseInvited(ctx, userIDs(page))
		})
	})
	if err == nil {
		deleted, err = p.deps.Invitations.DeleteOld(ctx, then, failed.batches)
	}
	return deleted, errors.Join(append(failed.errs, err)...)
}

// failures are the invitations whose accounts could not be purged.
type failures struct {
	errs    []error
	batches []string
}

// passOver calls fn with a page, and where that fails with one invitation after the other. It records those that are at
// fault. It returns an error when all seem to be.
func (f *failures) passOver(page []invitation.Invitation, fn func([]invitation.Invitation) error) error {
	err := fn(page)
	if err == nil {
		return nil
	}
	inRow := 0
	for n := range page {
		one := page[n : n+1]
		if len(page) > 1 {
			err = fn(one)
		}
		if err == nil {
			inRow = 0
			continue
		}
		if inRow++; inRow == purgePatience {
			return err
		}
		f.errs = append(f.errs, fmt.Errorf("invitation: account %s of batch %s: %w", one[0].UserID, one[0].BatchID, err))
		if !slices.Contains(f.batches, one[0].BatchID) {
			f.batches = append(f.batches, one[0].BatchID)
		}
	}
	return nil
}

// eachPage calls fn with every page, until one is empty.
func eachPage(
	read func(after string) ([]invitation.Invitation, error), fn func(page []invitation.Invitation) error,
) error {
	after := ""
	for {
		page, err := read(after)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := fn(page); err != nil {
			return err
		}
		after = page[len(page)-1].ID
	}
}
