package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

func (f *fixture) resender() *usecase.Resender {
	return usecase.NewResender(usecase.ResenderDeps{
		Tx: f.tx, Users: f.users, Requests: f.requests, Guard: f.guard, Events: f.events, Audit: f.audit, Clock: f.clock, CodeKeys: authentication.CodeKeys{codeKey},
	})
}

func TestResend(t *testing.T) {
	t.Parallel()
	aMinuteOld := func(change func(r *authentication.CodeRequest)) authentication.CodeRequest {
		return changedRequest(func(r *authentication.CodeRequest) {
			r.Network = "203.0.113.0/24"
			r.Code.CreatedAt = start.Add(-authentication.ResendInterval)
			change(r)
		})
	}
	older := aMinuteOld(func(r *authentication.CodeRequest) {
		r.ID, r.Code.EventID, r.Code.CreatedAt = "another", "evt_0", start.Add(-time.Hour)
	})
	reset := aMinuteOld(func(r *authentication.CodeRequest) { r.Purpose, r.PasswordHash = authentication.PurposeReset, "" })
	plain := aMinuteOld(func(*authentication.CodeRequest) {})

	for name, test := range map[string]struct {
		user   authentication.User
		stored map[authentication.Purpose][]authentication.CodeRequest
		kind   authentication.SendKind
		key    event.RoutingKey
	}{
		"makes another code in the newest request": {
			user:   pendingUser(),
			stored: map[authentication.Purpose][]authentication.CodeRequest{purpose: {plain, older}},
			kind:   authentication.SendResend,
			key:    event.EmailVerificationRequested,
		},
		"makes one for a new password of an active user": {
			user:   activeUser(),
			stored: map[authentication.Purpose][]authentication.CodeRequest{authentication.PurposeReset: {reset}},
			kind:   authentication.SendReset,
			key:    event.EmailPasswordResetRequested,
		},
		"replaces a code that wrong tries have ended": {
			user: pendingUser(),
			stored: map[authentication.Purpose][]authentication.CodeRequest{purpose: {aMinuteOld(func(r *authentication.CodeRequest) {
				r.Code.CreatedAt, r.Code.WrongTries = start, authentication.MaxWrongTries
			})}},
			kind: authentication.SendReplacement,
			key:  event.EmailVerificationRequested,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().LockByEmail(inside, email).Return(test.user, nil).Times(2)
			f.requests.EXPECT().OfAddress(inside, email, gomock.Any()).DoAndReturn(
				func(_ context.Context, _ string, p authentication.Purpose) ([]authentication.CodeRequest, error) {
					require.False(t, test.user.Active && p == purpose, "nobody is mailed such a code")
					return test.stored[p], nil
				}).MinTimes(2)
			var saved authentication.CodeRequest
			f.requests.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, r authentication.CodeRequest) { saved = r })
			p, eventID, err := f.resender().Resend(context.Background(), " "+email)
			require.NoError(t, err)
			require.Equal(t, saved.Purpose, p)
			require.Equal(t, saved.Code.EventID, eventID)
			require.Equal(t, requestID, saved.ID, "its browsers can spend the code")
			require.Zero(t, saved.Code.WrongTries)
			events := f.events.Events()
			require.Len(t, events, 1)
			require.Equal(t, eventID, events[0].ID)
			require.Equal(t, test.key, events[0].Key)
			require.Equal(t, []string{"send " + string(test.kind)}, f.guard.calls)
			require.Equal(t, []audit.Entry{{
				Action: audit.MailResent, UserID: test.user.ID, SubjectID: eventID,
				Details: audit.Details{Address: email, Reason: string(p)},
			}}, f.audit.entries)
		})
	}

	for name, test := range map[string]struct {
		user   authentication.User
		err    error
		stored []authentication.CodeRequest
		want   error
	}{
		"sends nothing to an address that is not known": {
			err: authentication.ErrUserNotFound, want: usecase.ErrNothingToResend,
		},
		"sends nothing for a code that was used": {
			user: pendingUser(), want: usecase.ErrNothingToResend,
			stored: []authentication.CodeRequest{aMinuteOld(func(r *authentication.CodeRequest) { r.Code.UsedAt = start })},
		},
		"waits a minute": {
			user: pendingUser(), want: authentication.TryAgainIn(time.Second),
			stored: []authentication.CodeRequest{aMinuteOld(func(r *authentication.CodeRequest) {
				r.Code.CreatedAt = start.Add(time.Second - authentication.ResendInterval)
			})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.users.EXPECT().LockByEmail(inside, email).Return(test.user, test.err)
			f.requests.EXPECT().OfAddress(inside, email, purpose).Return(test.stored, nil)
			f.requests.EXPECT().OfAddress(inside, email, authentication.PurposeReset).Return(nil, nil).AnyTimes()
			_, _, err := f.resender().Resend(context.Background(), email)
			require.Equal(t, test.want, err)
			require.Empty(t, f.events.Events())
			require.Empty(t, f.audit.entries)
		})
	}
}
