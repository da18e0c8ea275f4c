package usecase

import (
	"context"
	"fmt"
)

// rebuildPage is how many users are read at a time: few enough to hold in memory, enough to make the database's
// part of the work small beside the StateStore's.
const rebuildPage = 500

// Rebuilt counts what RebuildStates has done, in users.
type Rebuilt struct {
	Read    int `json:"read"`    // users with a subscription
	Written int `json:"written"` // states written, those that were right already included
	Stale   int `json:"stale"`   // left alone, because an event has meanwhile written a higher version
}

// RebuildStates writes the state of every user's latest subscription again, and may run beside events: a higher
// version is never moved backwards. Rows of the previous release have version 0 – no event ever does – and so are
// written only where nothing newer is. On an error it answers the counts so far; running it again is harmless.
//
// It removes nothing, and cannot tell a StateStore that is ahead of a database which was restored from a backup:
// delete the states first then, or they stay until the versions have caught up.
func (p *Projection) RebuildStates(ctx context.Context) (Rebuilt, error) {
	var done Rebuilt
	after := ""
	for {
		page, err := p.subscriptions.LatestPerUser(ctx, after, rebuildPage)
		if err != nil {
			return done, fmt.Errorf("subscription: reading the users after %q: %w", after, err)
		}
		if len(page) == 0 {
			return done, nil
		}
		for _, s := range page {
			done.Read++
			applied, err := p.states.Apply(ctx, s.State())
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
