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
		f.codes.EXPECT().Find(outside, userID, purpose).Return(storedCode(), nil)
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
			f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil),
			f.codes.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, c authentication.Code) { saved = c }),
		)
		require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
		require.Equal(t, []string{"evt_1"}, f.replaced)

		events := f.events.Events()
		require.Len(t, events, 1)
		fresh := events[0].Data.(event.VerificationRequested)
		require.Equal(t, event.EmailVerificationRequested, events[0].Key)
		require.Equal(t, "vi", fresh.Locale)
		require.Equal(t, email, fresh.Recipient, "the user's address, whatever the event said")
		require.Equal(t, f.clock.now.Add(authentication.CodeLifetime), fresh.ExpiresAt)
		require.Equal(t, events[0].ID, saved.EventID)
		require.NotEqual(t, "evt_1", saved.EventID)
		require.Equal(t, codeKey.Digest(purpose, userID, fresh.OTPCode), saved.Digest)
		require.Equal(t, fresh.ExpiresAt, saved.ExpiresAt)

		require.True(t, saved.CanResend(f.clock.now), "the person may ask for another at once: this one does not count")
		require.False(t, saved.Replaceable(f.clock.now.Add(time.Minute)), "once per request")
		require.NoError(t, saved.Try(saved.Digest, f.clock.now.Add(authentication.CodeLifetime-time.Microsecond)))
	})

	t.Run("leaves everything as it is", func(t *testing.T) {
		t.Parallel()
		verified, newer, used, fresh := activeUser(), storedCode(), storedCode(), storedCode()
		newer.EventID = "evt_2"
		used.UsedAt = start
		fresh.ExpiresAt = fresh.ExpiresAt.Add(time.Microsecond)
		for name, tc := range map[string]struct {
			user    authentication.User
			failed  error // of LockByID
			code    authentication.Code
			missing error // of Find
			age     time.Duration
		}{
			"when the person has verified":     {user: verified, code: storedCode()},
			"when the code has gone":           {user: pendingUser(), missing: authentication.ErrCodeNotFound},
			"when the person has gone":         {failed: authentication.ErrUserNotFound},
			"when there is a newer code":       {user: pendingUser(), code: newer},
			"when the code was used":           {user: pendingUser(), code: used},
			"when it was a replacement itself": {user: pendingUser(), code: fresh},
			"after half an hour":               {user: pendingUser(), code: storedCode(), age: 30 * time.Minute},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newMailFixture(t)
				expire(f, true)
				if tc.age > 0 {
					f.clock.now = start.Add(tc.age)
				}
				f.users.EXPECT().LockByID(inside, userID).Return(tc.user, tc.failed)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(tc.code, tc.missing).AnyTimes()
				require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
				require.Empty(t, f.events.Events())
				require.Empty(t, f.replaced)
			})
		}
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
				f.codes.EXPECT().Find(outside, userID, purpose).Return(storedCode(), nil)
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
				f.codes.EXPECT().Find(inside, userID, purpose).Return(authentication.Code{}, errBroken)
			},
			"the outbox": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any())
				f.events.Err = errBroken
			},
			"the commit": func(f *mailFixture) {
				expire(f, true)
				f.users.EXPECT().LockByID(inside, userID).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any())
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
