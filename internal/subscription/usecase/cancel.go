package usecase

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/smap-platform/identity/internal/subscription"
)

// maxReason bounds the free text in the event, in characters.
const maxReason = 500

// The default reasons (docs/events.md).
const (
	reasonAdmin = "admin_action"
	reasonUser  = "user_request"
)

// Cancel ends a live subscription at once and returns it. What was paid or granted stays in force until EffectiveUntil.
// reason is free text and trimmed; an empty one becomes a default.
//
// Cancel returns [subscription.ErrBody] for a reason that is too long or has control characters,
// [subscription.ErrNotFound] for a subscription that does not exist, or belongs to another user when the actor is no
// administrator, and [subscription.ErrCannotCancel] if it is not live. Of two concurrent calls
// exactly one succeeds and publishes an event.
func (l *Lifecycle) Cancel(
	ctx context.Context, actor subscription.Actor, id, reason string,
) (subscription.Subscription, error) {
	reason = strings.TrimSpace(reason)
	if problem := checkReason(reason); problem != "" {
		return subscription.Subscription{}, subscription.ErrBody.WithFields(map[string]string{"reason": problem})
	}
	var s subscription.Subscription
	err := l.deps.Tx.WithinTxRetry(ctx, func(ctx context.Context) error {
		var err error
		if s, err = l.deps.Subscriptions.ByID(ctx, id); err != nil {
			return err
		}
		if s.UserID != actor.UserID && !actor.Admin {
			return subscription.ErrNotFound
		}
		version, err := l.deps.Subscriptions.NextVersion(ctx, s.UserID)
		if err != nil {
			return err
		}
		// Read again under the user's lock: a concurrent call may just have cancelled it.
		if s, err = l.deps.Subscriptions.ByID(ctx, id); err != nil {
			return err
		}
		by := subscription.Owner
		if actor.Admin {
			by = subscription.Administrator
		}
		change, err := s.Transition(subscription.StatusCancelled, by, l.deps.Clock.Now(), l.deps.PastDueGrace)
		if err != nil {
			return err
		}
		s.Version = version
		if err := l.deps.Subscriptions.Update(ctx, s); err != nil {
			return err
		}
		change.Reason, change.AdminID = reasonOf(s, actor, reason)
		return l.deps.Events.Publish(ctx, changeEvent(s, change, l.deps.PastDueGrace))
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

// reasonOf returns the reason that the event gives for a cancellation, and the administrator who made it for the user.
// Administrators may cancel a subscription of their own: then they are users.
func reasonOf(s subscription.Subscription, actor subscription.Actor, reason string) (text, adminID string) {
	if actor.UserID == s.UserID {
		return cmp.Or(reason, reasonUser), ""
	}
	return cmp.Or(reason, reasonAdmin), actor.UserID
}

// checkReason returns what is wrong with a reason, empty when it can be stored. It may have several lines.
func checkReason(reason string) string {
	control := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }
	switch {
	case utf8.RuneCountInString(reason) > maxReason:
		return fmt.Sprintf("must have at most %d characters", maxReason)
	case strings.ContainsFunc(reason, control): // a database stores no NUL
		return "must not have control characters"
	}
	return ""
}
