package usecase

import (
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
	reasonAdmin   = "admin_action"
	reasonUser    = "user_request"
	reasonBilling = "billing"
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
	if err := checkReason(reason); err != nil {
		return subscription.Subscription{}, err
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
		var isCurrent bool
		if s, isCurrent, err = l.lockCurrent(ctx, s); err != nil {
			return err
		}
		if !isCurrent {
			return subscription.ErrCannotCancel
		}
		by := subscription.Owner
		if actor.Admin {
			by = subscription.Administrator
		}
		change, err := s.Transition(subscription.StatusCancelled, by, l.deps.Clock.Now(), l.deps.PastDueGrace)
		if err != nil {
			return err
		}
		return l.update(ctx, &s, byActor(change, s, actor, reason))
	})
	if err != nil {
		return subscription.Subscription{}, err
	}
	return s, nil
}

// checkReason returns [subscription.ErrBody] for a reason that cannot be stored. It may have several lines.
func checkReason(reason string) error {
	control := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\n\r\t", r) }
	var problem string
	switch {
	case utf8.RuneCountInString(reason) > maxReason:
		problem = fmt.Sprintf("must have at most %d characters", maxReason)
	case strings.ContainsFunc(reason, control): // a database stores no NUL
		problem = "must not have control characters"
	default:
		return nil
	}
	return subscription.ErrBody.WithFields(map[string]string{"reason": problem})
}
