package usecase_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

func TestRegister(t *testing.T) {
	t.Parallel()

	t.Run("stores user, code and event in one commit", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var user authentication.User
		var code authentication.Code
		gomock.InOrder(
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil),
			f.users.EXPECT().Create(inside, gomock.Any()).Do(func(_ context.Context, u authentication.User) { user = u }),
			f.codes.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, c authentication.Code) { code = c }),
		)
		c := authentication.Credentials{Email: " An@Example.com ", Password: password}
		require.NoError(t, f.Register(context.Background(), c, "vi"))
		f.requireTx(t, 1, 0)

		require.NoError(t, uuid.Validate(user.ID))
		require.Equal(t, authentication.User{
			ID: user.ID, Email: "An@Example.com", PasswordHash: "new hash", Locale: "vi", Role: authentication.RoleUser,
			CreatedAt: start, UpdatedAt: start,
		}, user, "as typed, and not active")

		events := f.events.Events()
		require.Len(t, events, 1)
		data, ok := events[0].Data.(event.VerificationRequested)
		require.True(t, ok)
		require.Equal(t, event.EmailVerificationRequested, events[0].Key)
		require.Equal(t, start, events[0].Time)
		require.Equal(t, "vi", data.Locale)
		require.Equal(t, "An@Example.com", data.Recipient)
		require.Equal(t, user.ID, data.UserID)
		require.Equal(t, start.Add(10*time.Minute), data.ExpiresAt)

		require.Equal(t, authentication.Code{
			UserID: user.ID, Purpose: authentication.PurposeVerification, EventID: events[0].ID,
			Digest:    codeKey.Digest(authentication.PurposeVerification, user.ID, data.OTPCode),
			CreatedAt: start, ExpiresAt: start.Add(10 * time.Minute),
		}, code)
		require.True(t, strings.HasPrefix(code.EventID, "evt_"))
	})

	t.Run("refuses before it hashes", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			credentials authentication.Credentials
			want        error
		}{
			"no address":       {authentication.Credentials{Password: password}, authentication.ErrInvalidEmail},
			"header injection": {authentication.Credentials{Email: "an@example.com\r\nBcc: x@example.com", Password: password}, authentication.ErrInvalidEmail},
			"short password":   {authentication.Credentials{Email: email, Password: "1234567"}, authentication.ErrBody},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t) // whose mocks expect no call
				require.ErrorIs(t, f.Register(context.Background(), tc.credentials, "en"), tc.want)
				f.requireTx(t, 0, 0)
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("rolls back", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			expect func(*fixture)
			want   error
		}{
			"when the code cannot be stored": {func(f *fixture) {
				f.users.EXPECT().Create(inside, gomock.Any())
				f.codes.EXPECT().Save(inside, gomock.Any()).Return(errBroken)
			}, errBroken},
			"when the event cannot be stored": {func(f *fixture) {
				f.users.EXPECT().Create(inside, gomock.Any())
				f.codes.EXPECT().Save(inside, gomock.Any())
				f.events.Err = errBroken
			}, errBroken},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
				tc.expect(f)
				require.ErrorIs(t, f.Register(context.Background(), credentials(), "en"), tc.want)
				f.requireTx(t, 0, 1)
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("returns errors", func(t *testing.T) {
		t.Parallel()
		t.Run("of a full hashing pool, without a transaction", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.passwords.EXPECT().Hash(outside, password).Return("", authentication.ErrBusy)
			require.ErrorIs(t, f.Register(context.Background(), credentials(), "en"), authentication.ErrBusy)
			f.requireTx(t, 0, 0)
		})
		t.Run("of the commit", func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.tx.commitErr = errBroken
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
			f.users.EXPECT().Create(inside, gomock.Any())
			f.codes.EXPECT().Save(inside, gomock.Any())
			require.ErrorIs(t, f.Register(context.Background(), credentials(), "en"), errBroken)
		})
	})

	t.Run("takes over an invited account, and no other", func(t *testing.T) {
		t.Parallel()
		invited := pendingUser()
		invited.PasswordHash = ""
		unverified := invited
		unverified.Active = true // however they became active
		for name, tc := range map[string]struct {
			user authentication.User
			err  error
			want error
		}{
			"by a user who was only invited":       {user: invited},
			"by a user who has registered":         {user: pendingUser(), want: authentication.ErrEmailTaken},
			"by a user who is active":              {user: activeUser(), want: authentication.ErrEmailTaken},
			"by an active user without a password": {user: unverified, want: authentication.ErrEmailTaken},
			"by a user who has just gone":          {err: authentication.ErrUserNotFound, want: authentication.ErrEmailTaken},
			"and the database is broken":           {err: errBroken, want: errBroken},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
				f.users.EXPECT().Create(inside, gomock.Any()).Return(authentication.ErrEmailTaken)
				f.users.EXPECT().LockByEmail(inside, email).Return(tc.user, tc.err)
				if tc.want != nil {
					require.ErrorIs(t, f.Register(context.Background(), credentials(), "en"), tc.want)
					f.requireTx(t, 0, 2)
					require.Empty(t, f.events.Events())
					return
				}
				f.clock.now = start.Add(time.Hour)
				want := invited
				want.PasswordHash, want.Locale, want.UpdatedAt = "new hash", "vi", f.clock.now
				f.users.EXPECT().Update(inside, want)
				var code authentication.Code
				f.codes.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, c authentication.Code) { code = c })
				require.NoError(t, f.Register(context.Background(), credentials(), "vi"))
				f.requireTx(t, 1, 1)
				events := f.events.Events()
				require.Len(t, events, 1)
				require.Equal(t, userID, events[0].Data.(event.VerificationRequested).UserID)
				require.Equal(t, "vi", events[0].Data.(event.VerificationRequested).Locale)
				require.Equal(t, events[0].ID, code.EventID)
				require.Equal(t, userID, code.UserID)
			})
		}
	})
}
