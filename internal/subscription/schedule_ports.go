package subscription

import (
	"context"
	"time"
)

//go:generate go tool mockgen -source=schedule_ports.go -destination=mock/schedule_ports.go -package=mock

// DueRepository finds and changes many subscriptions at once. Their end is that of [Subscription.EffectiveUntil]. Every
// method joins the transaction of ctx; those that lock or write need one.
type DueRepository interface {
	// LockEnded locks subscriptions with a live status whose end is in w, and their users as [Repository.NextVersion] does,
	// and returns the subscriptions as they are under the lock: up to limit of them, those that ended first. It passes over
	// the subscriptions in except and over users whom another transaction holds.
	LockEnded(ctx context.Context, w Window, except []string, limit int) ([]Subscription, error)
	// RaiseVersions is NextVersion of many users, who are locked.
	RaiseVersions(ctx context.Context, userIDs []string) (map[string]int64, error)
	// Expire stores that the subscriptions expired at now, with the version of their users and the times they have.
	Expire(ctx context.Context, ids []string, now time.Time) error
	// CancelledBefore returns the users' cancelled subscriptions that no release with versions has changed.
	CancelledBefore(ctx context.Context, userIDs []string) ([]Subscription, error)
	// Update is that of [Repository], for a subscription whose times change too.
	Update(ctx context.Context, s Subscription) error
	// FirstEnd returns the first end in w of a subscription with a live status that is not in except; ok is false when
	// there is none.
	FirstEnd(ctx context.Context, w Window, except []string) (end time.Time, ok bool, err error)
	// CountEnded returns how many subscriptions with a live status have their end in w.
	CountEnded(ctx context.Context, w Window) (int, error)
}

// ReminderRepository knows whose trial ends soon and who has been reminded of it. Every method joins the transaction of
// ctx; those that lock or write need one.
type ReminderRepository interface {
	// LockToRemind locks and returns up to limit trials that end in w and whose users have not been reminded of that end
	// so many days before, or later. It passes over those in except and over what another transaction holds.
	LockToRemind(ctx context.Context, w Window, days int, except []string, limit int) ([]Subscription, error)
	// MarkReminded stores that the users have been reminded so many days before the ends of these trials.
	MarkReminded(ctx context.Context, ids []string, days int) error
	// FirstTrialEnd returns the first end of a trial in w; ok is false when there is none.
	FirstTrialEnd(ctx context.Context, w Window) (end time.Time, ok bool, err error)
}

// RecipientFinder knows where mails for users go.
type RecipientFinder interface {
	// Recipients returns those of the users who exist and have proven their address, by their ids.
	Recipients(ctx context.Context, userIDs []string) (map[string]Recipient, error)
}

// PaceRepository grants turns to one process at a time.
type PaceRepository interface {
	// Grant reports whether the caller may take the turn at now, in the transaction of ctx. The next one comes after every,
	// whichever process asks; a rollback gives the turn back.
	Grant(ctx context.Context, now time.Time, every time.Duration) (bool, error)
}

// SchedulerObserver is told what the scheduler does.
type SchedulerObserver interface {
	// Expired is called for every subscription whose end was made known, with its status until then.
	Expired(from Status)
	// Reminded is called for every reminder handed to the outbox.
	Reminded(days int)
	// PassedOver is called for every subscription that could not be changed; again says that it has been before.
	PassedOver(id string, again bool, err error)
	// SchedulerHealth is called when the scheduler begins to fail as a whole, with the reason, and with nil when it works
	// again.
	SchedulerHealth(err error)
}
