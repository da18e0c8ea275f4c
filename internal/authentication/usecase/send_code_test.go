package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

func (f *fixture) expectPassword(u authentication.User) {
	f.users.EXPECT().ByEmail(outside, email).Return(u, nil)
	f.passwords.EXPECT().Verify(outside, u.PasswordHash, password).Return(true, false, nil)
}

func TestSendCode(t *testing.T) {
	t.Parallel()

	t.Run("replaces the last code", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			age    time.Duration
			change func(*authentication.Code)
		}{
			"after exactly a minute":       {age: time.Minute},
			"after it has died":            {age: time.Minute, change: func(c *authentication.Code) { c.WrongTries = 5 }},
			"after it has expired":         {age: time.Hour},
			"of a former life of the user": {age: time.Minute, change: func(c *authentication.Code) { c.UsedAt = start }},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(tc.age)
				last := storedCode()
				if tc.change != nil {
					tc.change(&last)
				}
				var saved authentication.Code
				f.expectPassword(pendingUser())
				gomock.InOrder(
					f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil),
					f.codes.EXPECT().Find(inside, userID, authentication.PurposeVerification).Return(last, nil),
					f.codes.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, c authentication.Code) { saved = c }),
				)
				require.NoError(t, f.SendCode(context.Background(), credentials(), "vi"))
				f.requireTx(t, 1, 0)

				events := f.events.Events()
				require.Len(t, events, 1)
				data := events[0].Data.(event.VerificationRequested)
				require.Equal(t, "vi", data.Locale)
				require.Equal(t, events[0].ID, saved.EventID)
				require.NotEqual(t, last.EventID, saved.EventID)
				require.Equal(t, codeKey.Digest(authentication.PurposeVerification, userID, data.OTPCode), saved.Digest)
				require.Zero(t, saved.WrongTries)
				require.Zero(t, saved.UsedAt)
				require.Equal(t, f.clock.now, saved.CreatedAt)
				require.Equal(t, f.clock.now.Add(10*time.Minute), saved.ExpiresAt)
			})
		}
	})

	t.Run("sends to a user without a code", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t) // as the previous release leaves them
		f.expectPassword(pendingUser())
		f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
		f.codes.EXPECT().Find(inside, userID, authentication.PurposeVerification).Return(authentication.Code{}, authentication.ErrCodeNotFound)
		f.codes.EXPECT().Save(inside, gomock.Any())
		require.NoError(t, f.SendCode(context.Background(), credentials(), "en"))
		require.Len(t, f.events.Events(), 1)
	})

	t.Run("sends nothing within a minute", func(t *testing.T) {
		t.Parallel()
		for name, age := range map[string]time.Duration{
			"right after registering":  0,
			"one microsecond too soon": time.Minute - time.Microsecond,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(age)
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, authentication.PurposeVerification).Return(storedCode(), nil)
				require.NoError(t, f.SendCode(context.Background(), credentials(), "en"))
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			expect    func(*fixture)
			want      error
			rollbacks int
		}{
			"an unknown address, after hashing": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(authentication.User{}, authentication.ErrUserNotFound)
				f.passwords.EXPECT().Verify(outside, "", password).Return(false, false, nil)
			}, want: authentication.ErrWrongPassword},
			"a wrong password": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(pendingUser(), nil)
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, nil)
			}, want: authentication.ErrWrongPassword},
			"a wrong password of a verified user": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil)
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, nil)
			}, want: authentication.ErrWrongPassword},
			"a verified user": {expect: func(f *fixture) {
				f.expectPassword(activeUser())
			}, want: authentication.ErrAlreadyVerified},
			"a user who verified in the meantime": {expect: func(f *fixture) {
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(activeUser(), nil)
			}, want: authentication.ErrAlreadyVerified, rollbacks: 1},
			"a user who went in the meantime": {expect: func(f *fixture) {
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, authentication.ErrUserNotFound)
			}, want: authentication.ErrWrongPassword, rollbacks: 1},
			"everybody while the pool is full": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(pendingUser(), nil)
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, authentication.ErrBusy)
			}, want: authentication.ErrBusy},
			"everybody while the database is away": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(authentication.User{}, errBroken)
			}, want: errBroken},
			"when the last code cannot be read": {expect: func(f *fixture) {
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, authentication.PurposeVerification).Return(authentication.Code{}, errBroken)
			}, want: errBroken, rollbacks: 1},
			"when the event cannot be stored": {expect: func(f *fixture) {
				f.clock.now = start.Add(time.Minute)
				f.events.Err = errBroken
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, authentication.PurposeVerification).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any())
			}, want: errBroken, rollbacks: 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				tc.expect(f)
				require.ErrorIs(t, f.SendCode(context.Background(), credentials(), "en"), tc.want)
				f.requireTx(t, 0, tc.rollbacks)
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("refuses an invalid address", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		err := f.SendCode(context.Background(), authentication.Credentials{Email: "an", Password: password}, "en")
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
	})
}
