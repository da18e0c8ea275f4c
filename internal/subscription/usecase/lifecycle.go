// Package usecase owns the use cases of subscriptions, one file per verb. [Lifecycle] changes subscriptions in the
// database and publishes events; [Projection] copies the events to the [subscription.StateStore] that other services
// read.
//
// The package does not promise that the StateStore is current when a change returns: the events do that.
package usecase

import (
	"time"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/subscription"
)

// LifecycleDeps are the dependencies of [Lifecycle]. All are required.
type LifecycleDeps struct {
	Tx            subscription.Transactor
	Clock         subscription.Clock
	Subscriptions subscription.Repository
	Plans         subscription.PlanRepository
	Trials        subscription.TrialRepository
	TrialKey      subscription.TrialKey
	Events        event.Publisher // must join the transactions of Tx
	PastDueGrace  time.Duration   // see [subscription.Subscription.EffectiveUntil]
}

// Lifecycle starts, shows and cancels subscriptions. Safe for concurrent use.
type Lifecycle struct{ deps LifecycleDeps }

// NewLifecycle returns a Lifecycle on d.
func NewLifecycle(d LifecycleDeps) *Lifecycle { return &Lifecycle{d} }

// ProjectionDeps are the dependencies of [Projection]. All are required.
type ProjectionDeps struct {
	Subscriptions subscription.LatestRepository
	States        subscription.StateStore
	PastDueGrace  time.Duration
}

// Projection keeps the copy in the [subscription.StateStore]. Safe for concurrent use.
type Projection struct{ deps ProjectionDeps }

// NewProjection returns a Projection on d.
func NewProjection(d ProjectionDeps) *Projection { return &Projection{d} }
