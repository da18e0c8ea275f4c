// Package usecase owns what can be done with subscriptions, one file per verb. Lifecycle changes them in the
// database and says so by events; Projection carries what was said to the StateStore other services read.
//
// It does not promise that the StateStore is up to date when a change returns: that is the events' work.
package usecase

import (
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// Lifecycle holds the verbs of people and of authentication. Safe for concurrent use.
type Lifecycle struct {
	tx            subscription.Transactor
	clock         subscription.Clock
	subscriptions subscription.Repository
	plans         subscription.PlanRepository
	publisher     event.Publisher
}

// NewLifecycle needs everything; publisher must take part in the transactions of tx.
func NewLifecycle(tx subscription.Transactor, clock subscription.Clock, subscriptions subscription.Repository,
	plans subscription.PlanRepository, publisher event.Publisher) *Lifecycle {
	return &Lifecycle{tx: tx, clock: clock, subscriptions: subscriptions, plans: plans, publisher: publisher}
}

// Projection holds the verbs of the copy in the StateStore. Safe for concurrent use.
type Projection struct {
	subscriptions subscription.Repository
	states        subscription.StateStore
}

// NewProjection needs both.
func NewProjection(subscriptions subscription.Repository, states subscription.StateStore) *Projection {
	return &Projection{subscriptions: subscriptions, states: states}
}
