package usecase

import (
	"context"
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

// PurgeExpired deletes the accounts of expired invitations that were never used, and returns how many: their addresses
// are free again. An account has one invitation at most, because an address with an account is not invited.
func (p *Purger) PurgeExpired(ctx context.Context, now time.Time) (deleted int64, err error) {
	err = eachPage(func(after string) ([]invitation.Invitation, error) {
		return p.deps.Invitations.ExpiredPage(ctx, now, after, invitation.AccountChunk)
	}, func(page []invitation.Invitation) error {
		n, err := p.deps.Accounts.DeleteInvited(ctx, userIDs(page), now)
		deleted += n
		return err
	})
	return deleted, err
}

// PurgeBatches deletes batches whose last mail was due before then, and returns how many: an upload that is repeated is
// not recognised any more. Of accounts that were never used and are deleted by now nothing stays, their addresses least
// of all.
func (p *Purger) PurgeBatches(ctx context.Context, then time.Time) (int64, error) {
	err := eachPage(func(after string) ([]invitation.Invitation, error) {
		return p.deps.Invitations.OldPage(ctx, then, after, invitation.AccountChunk)
	}, func(page []invitation.Invitation) error {
		return p.deps.Accounts.EraseInvited(ctx, userIDs(page))
	})
	if err != nil {
		return 0, err
	}
	return p.deps.Invitations.DeleteOld(ctx, then)
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
