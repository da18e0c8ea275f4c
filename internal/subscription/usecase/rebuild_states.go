package usecase

import (
	"context"
	"fmt"
)

// rebuildPage is the number of users per read.
const rebuildPage = 500

// Rebuilt is the result of [Projection.RebuildStates], in users.
type Rebuilt struct {
	Read    int `json:"read"`    // users with a subscription
	Written int `json:"written"` // states written, including unchanged ones
	Stale   int `json:"stale"`   // skipped: an event stored a higher version meanwhile
}

// RebuildStates writes the state of every user's latest subscription again. It may run beside events, because it never
// replaces a higher version. Rows of the previous release have version 0, which no event has: they are written only if
// nothing newer is stored. On an error it returns the counts so far; running it again is harmless.
//
// It deletes nothing. After the database was restored from a backup, delete the states first: states ahead of the
// database would stay until its versions catch up.
func (p *Projection) RebuildStates(ctx context.Context) (Rebuilt, error) {
	var done Rebuilt
	after := ""
	for {
		page, err := p.deps.Subscriptions.LatestPerUser(ctx, after, rebuildPage)
		if err != nil {
			return done, fmt.Errorf("subscription: reading the users after %q: %w", after, err)
		}
		if len(page) == 0 {
			return done, nil
		}
		for _, s := range page {
			done.Read++
			applied, err := p.deps.States.Apply(ctx, s.State())
			if err != nil {
				return done, fmt.Errorf("subscription: writing the state of user %s: %w", s.UserID, err)
			}
			if applied {
				done.Written++
			} else {
				done.Stale++
			}
			after = s.UserID
		}
	}
}
