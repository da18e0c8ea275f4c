package usecase

import (
	"context"
	"time"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// Disable takes an account out of use, until [Administration.Enable]: its sessions and codes end, no password or code opens
// another, and the address cannot be registered anew. The user is told by mail, if they have proven their address. A second
// call changes nothing. It returns ErrForbidden, ErrNoUser, ErrLastAdmin, or ErrProfile for the reason.
func (a *Administration) Disable(
	ctx context.Context, actor authentication.Actor, userID, reason string,
) (authentication.User, error) {
	return a.change(ctx, actor, userID, reason, func(ctx context.Context, user *administered, now time.Time) error {
		if user.Disabled() {
			return nil
		}
		if user.last() {
			return authentication.ErrLastAdmin
		}
		user.DisabledAt, user.TokensValidAfter, user.UpdatedAt = now, now, now
		if err := a.deps.Users.Update(ctx, user.User); err != nil {
			return err
		}
		if err := a.end(ctx, user.User, now); err != nil {
			return err
		}
		events := []event.Event{{
			ID:   event.NewID(),
			Key:  event.UserDisabled,
			Time: now,
			Data: event.UserDisabledData{UserID: user.ID, OccurredAt: now},
		}}
		if user.Active {
			events = append(events, securityNotice(user.User, event.NoticeAccountDisabled, now))
		}
		if err := a.deps.Events.Publish(ctx, events...); err != nil {
			return err
		}
		return a.record(ctx, actor, audit.UserDisabled, user.ID, reason)
	})
}

// Enable takes an account that was disabled into use again, with the password it had. What Disable has ended stays ended.
// A second call changes nothing. It returns ErrForbidden or ErrNoUser.
func (a *Administration) Enable(
	ctx context.Context, actor authentication.Actor, userID string,
) (authentication.User, error) {
	return a.change(ctx, actor, userID, "", func(ctx context.Context, user *administered, now time.Time) error {
		if !user.Disabled() {
			return nil
		}
		user.DisabledAt, user.UpdatedAt = time.Time{}, now
		if err := a.deps.Users.Update(ctx, user.User); err != nil {
			return err
		}
		err := a.deps.Events.Publish(ctx, event.Event{
			ID:   event.NewID(),
			Key:  event.UserEnabled,
			Time: now,
			Data: event.UserEnabledData{UserID: user.ID, OccurredAt: now},
		})
		if err != nil {
			return err
		}
		return a.record(ctx, actor, audit.UserEnabled, user.ID, "")
	})
}
