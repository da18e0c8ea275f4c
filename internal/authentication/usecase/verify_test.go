package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

const purpose = authentication.PurposeVerification

// expectRequests expects the look at what this browser has asked for, of an address that has this user.
func (f *fixture) expectRequests(user authentication.User, requests ...authentication.CodeRequest) {
	var err error
	if user.ID == "" {
		err = authentication.ErrUserNotFound
	}
	gomock.InOrder(
		f.requests.EXPECT().Bound(outside, email, purpose, [][]byte{browserDigest()}).Return(true, nil),
		f.users.EXPECT().LockByEmail(inside, email).Return(user, err),
		f.requests.EXPECT().OfBrowser(inside, email, purpose, [][]byte{browserDigest()}).Return(requests, nil),
	)
}

func TestVerify(t *testing.T) {
	t.Parallel()

	t.Run("makes the request's password the user's, and starts the trial, in one commit", func(t *testing.T) {
		t.Parallel()
		for name, before := range map[string]authentication.User{
			"of a user who was only registered":            invitedUser(),
			"of one with a password that was never proved": pendingUser(),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(5 * time.Minute)
				spent := changedRequest(func(r *authentication.CodeRequest) { r.Code.UsedAt = f.clock.now })
				verified := before
				verified.PasswordHash, verified.Active, verified.Locale, verified.UpdatedAt = "pending hash", true, "vi", f.clock.now
				f.expectRequests(before, storedRequest())
				gomock.InOrder(
					f.requests.EXPECT().Save(inside, spent),
					f.users.EXPECT().Update(inside, verified),
					f.trials.EXPECT().StartTrial(inside, userID, email),
				)
				f.opens(verified, false)
				login, err := f.Verify(context.Background(), " "+email+"\n", digits, client())
				require.NoError(t, err)
				require.Equal(t, authentication.Login{User: verified, Token: token}, login)
				f.requireTx(t, 1, 0)
				require.Equal(t, []string{"code succeeded", "login succeeded"}, f.guard.calls)
				events := f.events.Events()
				require.Len(t, events, 1)
				require.Equal(t, event.UserVerified, events[0].Key)
				require.Equal(t, event.UserVerifiedData{UserID: userID, OccurredAt: f.clock.now}, events[0].Data)
			})
		}
	})

	t.Run("creates a user who is gone", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var created, updated authentication.User
		f.expectRequests(authentication.User{}, storedRequest())
		gomock.InOrder(
			f.requests.EXPECT().Save(inside, gomock.Any()),
			f.users.EXPECT().Create(inside, gomock.Any()).Do(func(_ context.Context, u authentication.User) { created = u }),
			f.users.EXPECT().LockByEmail(inside, email).DoAndReturn(
				func(context.Context, string) (authentication.User, error) { return created, nil }),
			f.users.EXPECT().Update(inside, gomock.Any()).Do(func(_ context.Context, u authentication.User) { updated = u }),
			f.trials.EXPECT().StartTrial(inside, gomock.Any(), email),
		)
		f.opens(gomock.Any(), false)
		_, err := f.Verify(context.Background(), email, digits, client())
		require.NoError(t, err)
		require.NoError(t, uuid.Validate(created.ID))
		require.False(t, created.Active)
		require.Equal(t, authentication.User{
			ID: created.ID, Email: email, PasswordHash: "pending hash", Role: authentication.RoleUser, Locale: "vi", Active: true,
			CreatedAt: start, UpdatedAt: start,
		}, updated)
	})

	// Create does nothing for an address that a registration has just given to a user of its own.
	t.Run("verifies the user whom a registration has created meanwhile", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		verified := invitedUser()
		verified.PasswordHash, verified.Active, verified.Locale, verified.UpdatedAt = "pending hash", true, "vi", start
		f.expectRequests(authentication.User{}, storedRequest())
		f.requests.EXPECT().Save(inside, gomock.Any())
		f.users.EXPECT().Create(inside, gomock.Any())
		f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
		f.users.EXPECT().Update(inside, verified)
		f.trials.EXPECT().StartTrial(inside, userID, email)
		f.opens(verified, false)
		login, err := f.Verify(context.Background(), email, digits, client())
		require.NoError(t, err)
		require.Equal(t, userID, login.User.ID)
	})

	t.Run("keeps the password of a user who was created and verified meanwhile", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectRequests(authentication.User{}, storedRequest())
		f.requests.EXPECT().Save(inside, gomock.Any())
		f.users.EXPECT().Create(inside, gomock.Any())
		f.users.EXPECT().LockByEmail(inside, email).Return(activeUser(), nil)
		_, err := f.Verify(context.Background(), email, digits, client())
		require.ErrorIs(t, err, authentication.ErrAlreadyVerified)
		f.requireTx(t, 0, 1)
	})

	t.Run("commits what a try has cost", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			stored func(*authentication.CodeRequest)
			user   authentication.User
			digits string
			want   error
			saved  func(*authentication.CodeRequest)
			guard  []string
		}{
			"wrong": {
				digits: "654321", want: authentication.ErrWrongCode, saved: func(r *authentication.CodeRequest) { r.Code.WrongTries = 1 },
				guard: []string{"code failed"},
			},
			"right, too often tried": {
				stored: func(r *authentication.CodeRequest) { r.Code.WrongTries = 5 }, digits: digits, want: authentication.ErrTooManyTries,
			},
			"right, expired": {
				stored: func(r *authentication.CodeRequest) { r.Code.ExpiresAt = start }, digits: digits, want: authentication.ErrCodeExpired,
			},
			"right, used before": {
				stored: func(r *authentication.CodeRequest) { r.Code.UsedAt = start.Add(-time.Second) }, user: activeUser(),
				digits: digits, want: authentication.ErrAlreadyVerified,
			},
			"right, but verified elsewhere": {
				user: activeUser(), digits: digits, want: authentication.ErrAlreadyVerified,
				saved: func(r *authentication.CodeRequest) { r.Code.UsedAt = start },
			},
			"wrong, and verified elsewhere": {
				user: activeUser(), digits: "654321", want: authentication.ErrWrongCode,
				saved: func(r *authentication.CodeRequest) { r.Code.WrongTries = 1 }, guard: []string{"code failed"},
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				if tc.user.ID == "" {
					tc.user = invitedUser()
				}
				stored := changedRequest(tc.stored)
				saved := stored
				if tc.saved != nil {
					tc.saved(&saved)
				}
				f.expectRequests(tc.user, stored)
				f.requests.EXPECT().Save(inside, saved)
				login, err := f.Verify(context.Background(), email, tc.digits, client())
				require.ErrorIs(t, err, tc.want)
				require.Zero(t, login)
				f.requireTx(t, 1, 0)
				require.Equal(t, tc.guard, f.guard.calls)
			})
		}
	})

	t.Run("refuses another browser and an unknown address alike, and locks nothing", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.requests.EXPECT().Bound(outside, email, purpose, [][]byte{browserDigest()}).Return(false, nil)
		_, err := f.Verify(context.Background(), email, digits, client())
		require.ErrorIs(t, err, authentication.ErrOtherBrowser)
		f.requireTx(t, 0, 0)
		require.Empty(t, f.guard.calls)

		f.requests.EXPECT().Bound(outside, email, purpose, gomock.Any()).Return(false, errBroken)
		_, err = f.Verify(context.Background(), email, digits, client())
		require.ErrorIs(t, err, errBroken)
	})

	t.Run("refuses a browser whose request is pushed out meanwhile", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectRequests(invitedUser())
		_, err := f.Verify(context.Background(), email, digits, client())
		require.ErrorIs(t, err, authentication.ErrOtherBrowser)
		require.Empty(t, f.guard.calls)
	})

	t.Run("refuses an invalid address", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		_, err := f.Verify(context.Background(), "an", digits, client())
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
		f.requireTx(t, 0, 0)
	})

	t.Run("rolls back as a whole", func(t *testing.T) {
		t.Parallel()
		steps := []func(f *fixture, err error){
			func(f *fixture, err error) { f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), err) },
			func(f *fixture, err error) {
				f.requests.EXPECT().OfBrowser(inside, email, purpose, gomock.Any()).Return([]authentication.CodeRequest{storedRequest()}, err)
			},
			func(f *fixture, err error) { f.requests.EXPECT().Save(inside, gomock.Any()).Return(err) },
			func(f *fixture, err error) { f.users.EXPECT().Update(inside, gomock.Any()).Return(err) },
			func(f *fixture, err error) { f.trials.EXPECT().StartTrial(inside, userID, email).Return(err) },
			func(f *fixture, err error) { f.events.Err = err },
		}
		for failing := range steps {
			f := newFixture(t)
			f.requests.EXPECT().Bound(outside, email, purpose, gomock.Any()).Return(true, nil)
			for i, expect := range steps[:failing+1] {
				if i == failing {
					expect(f, errBroken)
				} else {
					expect(f, nil)
				}
			}
			login, err := f.Verify(context.Background(), email, digits, client())
			require.ErrorIs(t, err, errBroken, "step %d", failing)
			require.Zero(t, login)
			f.requireTx(t, 0, 1)
			require.Empty(t, f.guard.calls)
		}
	})

	t.Run("reveals nothing about a code whose try was not counted", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.tx.commitErr = errBroken
		f.expectRequests(invitedUser(), storedRequest())
		f.requests.EXPECT().Save(inside, gomock.Any())
		_, err := f.Verify(context.Background(), email, "654321", client())
		require.ErrorIs(t, err, errBroken)
		require.NotErrorIs(t, err, authentication.ErrWrongCode)

		f = newFixture(t)
		f.guard.refuse = map[string]error{"code failed": errBroken}
		f.expectRequests(invitedUser(), storedRequest())
		f.requests.EXPECT().Save(inside, gomock.Any())
		_, err = f.Verify(context.Background(), email, "654321", client())
		require.ErrorIs(t, err, errBroken)
		require.NotErrorIs(t, err, authentication.ErrWrongCode)
	})
}
