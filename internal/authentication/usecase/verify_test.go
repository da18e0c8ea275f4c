package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

const purpose = authentication.PurposeVerification

func TestVerify(t *testing.T) {
	t.Parallel()

	t.Run("activates and starts the trial in one commit", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(5 * time.Minute)
		spent, verified := storedCode(), activeUser()
		spent.UsedAt, verified.UpdatedAt = f.clock.now, f.clock.now
		token := authentication.Token{Value: "token", Lifetime: 2 * time.Hour}
		gomock.InOrder(
			f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil),
			f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil),
			f.codes.EXPECT().Save(inside, spent),
			f.users.EXPECT().Update(inside, verified),
			f.trials.EXPECT().StartTrial(inside, userID, email),
			f.tokens.EXPECT().Issue(verified, false).Return(token, nil),
		)
		session, err := f.Verify(context.Background(), " "+email+"\n", digits)
		require.NoError(t, err)
		require.Equal(t, authentication.Login{User: verified, Token: token}, session)
		f.requireTx(t, 1, 0)
	})

	t.Run("commits what a try has cost", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			stored func(*authentication.Code)
			user   authentication.User
			digits string
			want   error
			saved  func(*authentication.Code)
		}{
			"wrong": {digits: "654321", want: authentication.ErrWrongCode, saved: func(c *authentication.Code) { c.WrongTries = 1 }},
			"wrong for the fifth time": {
				stored: func(c *authentication.Code) { c.WrongTries = 4 }, digits: "654321",
				want: authentication.ErrWrongCode, saved: func(c *authentication.Code) { c.WrongTries = 5 },
			},
			"right, too often tried": {
				stored: func(c *authentication.Code) { c.WrongTries = 5 }, digits: digits, want: authentication.ErrTooManyTries,
			},
			"right, expired": {
				stored: func(c *authentication.Code) { c.ExpiresAt = start }, digits: digits, want: authentication.ErrCodeExpired,
			},
			"right, used before": {
				stored: func(c *authentication.Code) { c.UsedAt = start.Add(-time.Second) }, user: activeUser(),
				digits: digits, want: authentication.ErrWrongCode,
			},
			"right, but verified elsewhere": {
				user: activeUser(), digits: digits, want: authentication.ErrAlreadyVerified,
				saved: func(c *authentication.Code) { c.UsedAt = start },
			},
			"wrong, and verified elsewhere": {
				user: activeUser(), digits: "654321", want: authentication.ErrWrongCode,
				saved: func(c *authentication.Code) { c.WrongTries = 1 },
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				if tc.user.ID == "" {
					tc.user = pendingUser()
				}
				stored := storedCode()
				if tc.stored != nil {
					tc.stored(&stored)
				}
				saved := stored
				if tc.saved != nil {
					tc.saved(&saved)
				}
				f.users.EXPECT().LockByEmail(inside, email).Return(tc.user, nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(stored, nil)
				f.codes.EXPECT().Save(inside, saved)
				session, err := f.Verify(context.Background(), email, tc.digits)
				require.ErrorIs(t, err, tc.want)
				require.Zero(t, session)
				f.requireTx(t, 1, 0)
			})
		}
	})

	t.Run("refuses an unknown address like a wrong code", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, authentication.ErrUserNotFound)
		f.codes.EXPECT().Find(inside, uuid.Nil.String(), purpose).Return(authentication.Code{}, authentication.ErrCodeNotFound)
		_, err := f.Verify(context.Background(), email, digits)
		require.ErrorIs(t, err, authentication.ErrWrongCode)
		f.requireTx(t, 1, 0)
	})

	t.Run("refuses a user without a code like a wrong code", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
		f.codes.EXPECT().Find(inside, userID, purpose).Return(authentication.Code{}, authentication.ErrCodeNotFound)
		_, err := f.Verify(context.Background(), email, digits)
		require.ErrorIs(t, err, authentication.ErrWrongCode)
	})

	t.Run("refuses an invalid address", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		_, err := f.Verify(context.Background(), "an", digits)
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
		f.requireTx(t, 0, 0)
	})

	t.Run("rolls back as a whole", func(t *testing.T) {
		t.Parallel()
		for name, expect := range map[string]func(*fixture){
			"user cannot be read": func(f *fixture) {
				f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, errBroken)
			},
			"code cannot be read": func(f *fixture) {
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(authentication.Code{}, errBroken)
			},
			"code cannot be stored": func(f *fixture) {
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any()).Return(errBroken)
			},
			"user cannot be stored": func(f *fixture) {
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any())
				f.users.EXPECT().Update(inside, gomock.Any()).Return(errBroken)
			},
			"trial cannot be started": func(f *fixture) {
				f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
				f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
				f.codes.EXPECT().Save(inside, gomock.Any())
				f.users.EXPECT().Update(inside, gomock.Any())
				f.trials.EXPECT().StartTrial(inside, userID, email).Return(errBroken)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				expect(f)
				session, err := f.Verify(context.Background(), email, digits)
				require.ErrorIs(t, err, errBroken)
				require.Zero(t, session)
				f.requireTx(t, 0, 1)
			})
		}
	})

	t.Run("reveals nothing about a code whose try was not counted", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.tx.commitErr = errBroken
		f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
		f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
		f.codes.EXPECT().Save(inside, gomock.Any())
		_, err := f.Verify(context.Background(), email, "654321")
		require.ErrorIs(t, err, errBroken)
		require.NotErrorIs(t, err, authentication.ErrWrongCode)
	})
}
