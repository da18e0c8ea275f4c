package usecase

import (
	"context"
	"errors"
	"fmt"

	"github.com/smap-platform/identity/internal/subscription"
)

const (
	// rebuildPage is the number of users per read.
	rebuildPage = 500
	// rebuildPatience is how many users in a row may fail before the rest is not tried: what they need is unavailable.
	rebuildPatience = 100
)

// Rebuilt is the result of [Projection.RebuildStates], in users.
type Rebuilt struct {
	Read    int `json:"read"`    // users with a subscription
	Written int `json:"written"` // states written, including unchanged ones
	Stale   int `json:"stale"`   // skipped: an event stored a higher version meanwhile
	Failed  int `json:"failed"`  // passed over
}

// RebuildStates writes the state of every user's latest subscription again. It may run beside events, because it never
// replaces a higher version. Rows of the previous release have version 0, which no event has: they are written only if
// nothing newer is stored. A user whose state cannot be written is passed over: the errors of all are returned together,
// each with the user's id, beside the counts. Running it again is harmless.
//
// It deletes nothing. After the database was restored from a backup, delete the states first: states ahead of the
// database would stay until its versions catch up.
func (p *Projection) RebuildStates(ctx context.Context) (done Rebuilt, err error) {
	var failed []error
	defer func() { err = errors.Join(append(failed, err)...) }()
	after, inRow := "", 0
	for {
		page, err := p.deps.Subscriptions.LatestPerUser(ctx, after, rebuildPage)
		if err != nil {
			return done, fmt.Errorf("subscription: reading the users after %q: %w", after, err)
		}
		if len(page) == 0 {
			return done, nil
		}
		for len(page) > 0 {
			s, rest := p.takeUser(page)
			page, after = rest, s.UserID
			done.Read++
			applied, err := p.deps.States.Apply(ctx, s.State(p.deps.PastDueGrace))
			switch {
			case err != nil:
				failed = append(failed, fmt.Errorf("subscription: writing the state of user %s: %w", s.UserID, err))
				done.Failed++
				if inRow++; inRow == rebuildPatience || ctx.Err() != nil {
					return done, errors.New("subscription: the users after these were not tried")
				}
				continue
			case applied:
				done.Written++
			default:
				done.Stale++
			}
			inRow = 0
		}
	}
}

// takeUser returns the latest subscription of the first user of page, and the page without that user.
func (p *Projection) takeUser(page []subscription.Subscription) (subscription.Subscription, []subscription.Subscription) {
	n := 1
	for n < len(page) && page[n].UserID == page[0].UserID {
		n++
	}
	latest, _ := subscription.Latest(page[:n], p.deps.Clock.Now(), p.deps.PastDueGrace)
	return latest, page[n:]
}
