package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golang/mock/gomock"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// A code that died before its mail could leave is replaced: the person is still waiting for one.
func TestReplaceCode(t *testing.T) {
	t.Parallel()
	expired := event.Drop(event.DropExpired)
	data := event.VerificationRequested{
		UserID: userID, Recipient: "old@example.com", OTPCode: digits, Locale: "vi", ExpiresAt: start.Add(authentication.CodeLifetime),
	}
	// expire has the mailer find the code expired, and its mail never sent.
	expire := func(f *mailFixture, never bool) {
		f.clock.now = start.Add(11 * time.Minute)
		f.requests.EXPECT().ByEvent(outside, "evt_1").Return(storedRequest(), nil)
		f.mailer.EXPECT().SendVerification(gomock.Any(), "evt_1", data).Return(expired)
		f.mailer.EXPECT().NeverLeft(gomock.Any(), "evt_1").Return(never, nil)
	}

	t.Run("makes a fresh one", func(t *testing.T) {
		t.Parallel()
		f := newMailFixture(t)
		expire(f, true)
		var saved authentication.Code
		gomock.InOrder(
			f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil),
			f.requests.EXPECT().ByEvent(inside, "evt_1").Return(storedRequest(), nil),
			f.requests.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, r authentication.CodeRequest) { saved = r.Code }),
		)
		require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
		require.Equal(t, []string{"evt_1"}, f.replaced)

		events := f.events.Events()
		require.Len(t, events, 1)
		fresh := events[0].Data.(event.VerificationRequested)
		require.Equal(t, event.EmailVerificationRequested, events[0].Key)
		require.Equal(t, "vi", fresh.Locale)
		require.Equal(t, email, fresh.Recipient, "the request's address, whatever the event said")
		require.Equal(t, f.clock.now.Add(authentication.CodeLifetime), fresh.ExpiresAt)
		require.Equal(t, events[0].ID, saved.EventID)
		require.NotEqual(t, "evt_1", saved.EventID)
		require.Equal(t, codeKey.Digest(purpose, requestID, fresh.OTPCode), saved.Digest)
		require.Equal(t, fresh.ExpiresAt, saved.ExpiresAt)

		require.True(t, saved.CanResend(f.clock.now), "the person may ask for another at once: this one does not count")
		require.False(t, saved.Replaceable(f.clock.now.Add(time.Minute)), "once per request")
		proved, err := authentication.CodeKeys{codeKey}.TryDigits([]authentication.CodeRequest{changedRequest(func(r *authentication.CodeRequest) { r.Code = saved })},
			fresh.OTPCode, f.clock.now.Add(authentication.CodeLifetime-time.Microsecond))
		require.NoError(t, err)
		require.Equal(t, requestID, proved.ID)
	})

	t.Run("leaves everything as it is", func(t *testing.T) {
		t.Parallel()
		used := func(r *authentication.CodeRequest) { r.Code.UsedAt = start }
		fresh := func(r *authentication.CodeRequest) { r.Code.ExpiresAt = r.Code.ExpiresAt.Add(time.Microsecond) }
		for name, tc := range map[string]struct {
			user    authentication.User
			failed  error // of LockByID
			change  func(*authentication.CodeRequest)
			missing error // of ByEvent
			age     time.Duration
		}{
			"when the person has verified":              {user: activeUser()},
			"when there is a newer code, or no request": {user: pendingUser(), missing: authentication.ErrCodeNotFound},
			"when the person has gone":                  {failed: authentication.ErrUserNotFound},
			"when the code was used":                    {user: pendingUser(), change: used},
			"when it was a replacement itself":          {user: pendingUser(), change: fresh},
			"after half an hour":                        {user: pendingUser(), age: 30 * time.Minute},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newMailFixture(t)
				expire(f, true)
				if tc.age > 0 {
					f.clock.now = start.Add(tc.age)
				}
				f.users.EXPECT().LockByID(inside, userID).Return(tc.user, tc.failed)
				f.requests.EXPECT().ByEvent(inside, "evt_1").Return(changedRequest(tc.change), tc.missing).AnyTimes()
				require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
				require.Empty(t, f.events.Events())
				require.Empty(t, f.replaced)
			})
		}
	})

	t.Run("makes one that sets a new password for a user who is active", func(t *testing.T) {
		t.Parallel()
		f := newMailFixture(t)
		f.clock.now = start.Add(11 * time.Minute)
		reset := changedRequest(func(r *authentication.CodeRequest) { r.Purpose = authentication.PurposeReset })
		f.requests.EXPECT().ByEvent(gomock.Any(), "evt_1").Return(reset, nil).Times(2)
		f.mailer.EXPECT().SendPasswordReset(gomock.Any(), "evt_1", event.PasswordResetRequested(data)).Return(expired)
		f.mailer.EXPECT().NeverLeft(gomock.Any(), "evt_1").Return(true, nil)
		f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil)
		f.requests.EXPECT().Save(inside, gomock.Any())
		require.Equal(t, expired, f.SendReset(context.Background(), "evt_1", event.PasswordResetRequested(data)))
		require.Equal(t, event.EmailPasswordResetRequested, f.events.Events()[0].Key)
	})

	t.Run("does not make one where a server may have had the mail", func(t *testing.T) {
		t.Parallel()
		f := newMailFixture(t)
		expire(f, false)
		require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
		require.Zero(t, f.tx.commits)
	})

	// The event is kept, and its next delivery tries again.
	t.Run("returns what kept it from making one", func(t *testing.T) {
		t.Parallel()
		for name, expect := range map[string]func(*mailFixture){
			"the ledger": func(f *mailFixture) {
				f.requests.EXPECT().ByEvent(outside, "evt_1").Return(storedRequest(), nil)
				f.mailer.EXPECT().SendVerification(gomock.Any(), "evt_1", data).Return(expired)
				f.mailer.EXPECT().NeverLeft(gomock.Any(), "evt_1").Return(false, errBroken)
			},
			"the users": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(authentication.User{}, errBroken)
			},
			"the codes": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil)
				f.requests.EXPECT().ByEvent(inside, "evt_1").Return(authentication.CodeRequest{}, errBroken)
			},
			"the outbox": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil)
				f.requests.EXPECT().ByEvent(inside, "evt_1").Return(storedRequest(), nil)
				f.requests.EXPECT().Save(inside, gomock.Any())
				f.events.Err = errBroken
			},
			"the commit": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil)
				f.requests.EXPECT().ByEvent(inside, "evt_1").Return(storedRequest(), nil)
				f.requests.EXPECT().Save(inside, gomock.Any())
				f.tx.commitErr = errBroken
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newMailFixture(t)
				expect(f)
				require.ErrorIs(t, f.Send(context.Background(), "evt_1", data), errBroken)
				require.Empty(t, f.replaced)
			})
		}
	})
}
