package usecase_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/apperror"
)

const reset = authentication.PurposeReset

func resetRequest() authentication.CodeRequest {
	return changedRequest(func(r *authentication.CodeRequest) {
		r.Purpose, r.PasswordHash = reset, ""
		r.Code.Digest = codeKey.Digest(reset, requestID, digits)
	})
}

func TestForgotPassword(t *testing.T) {
	t.Parallel()

	t.Run("stores a request for every address, and mails those that have a user", func(t *testing.T) {
		t.Parallel()
		for name, user := range map[string]authentication.User{
			"active": activeUser(), "unverified": pendingUser(), "invited": invitedUser(), "unknown": {},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				var missing error
				if user.ID == "" {
					missing = authentication.ErrUserNotFound
				}
				var saved authentication.CodeRequest
				gomock.InOrder(
					f.users.EXPECT().LockByEmail(inside, email).Return(user, missing),
					f.requests.EXPECT().OfAddress(inside, email, reset),
					f.requests.EXPECT().Delete(inside, []string{}),
					f.requests.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, r authentication.CodeRequest) { saved = r }),
					f.requests.EXPECT().Bind(inside, gomock.Any(), browserDigest()),
				)
				value, err := f.ForgotPassword(context.Background(), " "+email, client())
				require.NoError(t, err)
				require.Equal(t, browser, value)
				require.Equal(t, []string{"may send reset", "send reset"}, f.guard.calls)
				require.Empty(t, saved.PasswordHash)
				events := f.events.Events()
				if user.ID == "" {
					require.Empty(t, events)
					return
				}
				require.Len(t, events, 1)
				require.Equal(t, event.EmailPasswordResetRequested, events[0].Key)
				data := events[0].Data.(event.PasswordResetRequested)
				require.Equal(t, codeKey.Digest(reset, saved.ID, data.OTPCode), saved.Code.Digest)
				require.Equal(t, user.Email, data.Recipient)
			})
		}
	})

	t.Run("returns the same when no code is made", func(t *testing.T) {
		t.Parallel()
		for name, refusal := range map[string]error{
			"so soon":      authentication.ErrTooSoon,
			"over a limit": authentication.TryAgainIn(time.Hour),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.guard.refuse = map[string]error{"send reset": refusal}
				value, err := f.ForgotPassword(context.Background(), email, client())
				require.NoError(t, err)
				require.Equal(t, browser, value)
				f.requireTx(t, 0, 1)
			})
		}
	})

	t.Run("returns what is wrong with the address, or with the database", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		for _, bad := range []string{"an", strings.Repeat("a", 256-len(email)) + email} {
			_, err := f.ForgotPassword(context.Background(), bad, client())
			require.ErrorIs(t, err, authentication.ErrInvalidEmail)
		}
		f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, errBroken)
		_, err := f.ForgotPassword(context.Background(), email, client())
		require.ErrorIs(t, err, errBroken)
	})
}

func (f *fixture) expectReset(user authentication.User, requests ...authentication.CodeRequest) {
	var missing error
	if user.ID == "" {
		missing = authentication.ErrUserNotFound
	}
	f.requests.EXPECT().Bound(outside, email, reset, [][]byte{browserDigest()}).Return(true, nil)
	f.passwords.EXPECT().Hash(outside, "a better one").Return("better hash", nil)
	f.users.EXPECT().LockByEmail(inside, email).Return(user, missing)
	f.requests.EXPECT().OfBrowser(inside, email, reset, [][]byte{browserDigest()}).Return(requests, nil)
	f.requests.EXPECT().Save(inside, gomock.Any()).Times(len(requests))
}

// endsAll expects that every session of the user ends.
func (f *fixture) endsAll() { f.sessions.EXPECT().EndOthers(inside, userID, "", f.clock.now) }

func TestResetPassword(t *testing.T) {
	t.Parallel()

	t.Run("sets the password, ends every session and tells the user", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		want := activeUser()
		want.PasswordHash, want.TokensValidAfter, want.UpdatedAt = "better hash", start, start
		f.expectReset(activeUser(), resetRequest())
		f.users.EXPECT().Update(inside, want)
		f.requests.EXPECT().OfAddress(inside, email, reset).Return([]authentication.CodeRequest{{ID: "another"}, resetRequest()}, nil)
		f.requests.EXPECT().Delete(inside, []string{"another"})
		f.endsAll()
		f.opens(want, false)
		login, err := f.ResetPassword(context.Background(), email, digits, "a better one", client())
		require.NoError(t, err)
		require.Equal(t, authentication.Login{User: want, Token: token}, login)
		require.Equal(t, []string{"code succeeded", "login succeeded"}, f.guard.calls)
		events := f.events.Events()
		require.Len(t, events, 1)
		require.Equal(t, event.SecurityNotice{
			UserID: userID, Recipient: email, Locale: "en", Kind: event.NoticePasswordReset, OccurredAt: start,
		}, events[0].Data)
	})

	t.Run("does what verifying does for those who have not", func(t *testing.T) {
		t.Parallel()
		for _, user := range []authentication.User{invitedUser(), pendingUser()} {
			f := newFixture(t)
			f.expectReset(user, resetRequest())
			f.users.EXPECT().Update(inside, gomock.Any()).Do(func(_ context.Context, u authentication.User) {
				require.True(t, u.Active)
				require.Equal(t, "better hash", u.PasswordHash)
			})
			f.trials.EXPECT().StartTrial(inside, userID, email)
			f.requests.EXPECT().OfAddress(inside, email, reset).Return([]authentication.CodeRequest{resetRequest()}, nil)
			f.requests.EXPECT().Delete(inside, gomock.Len(0))
			f.endsAll()
			f.opens(gomock.Any(), false)
			_, err := f.ResetPassword(context.Background(), email, digits, "a better one", client())
			require.NoError(t, err)
			require.Equal(t, event.UserVerified, f.events.Events()[0].Key)
		}
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		used := resetRequest()
		used.Code.UsedAt = start
		for name, tc := range map[string]struct {
			user     authentication.User
			requests []authentication.CodeRequest
			digits   string
			want     error
		}{
			"a wrong code":                       {activeUser(), []authentication.CodeRequest{resetRequest()}, "654321", authentication.ErrWrongCode},
			"the right code, again":              {activeUser(), []authentication.CodeRequest{used}, digits, authentication.ErrAlreadyVerified},
			"another code after the right one":   {activeUser(), []authentication.CodeRequest{used}, "654321", authentication.ErrWrongCode},
			"that of an address with nobody":     {authentication.User{}, []authentication.CodeRequest{used}, digits, authentication.ErrWrongCode},
			"a request pushed out meanwhile":     {activeUser(), nil, digits, authentication.ErrOtherBrowser},
			"the code of an address with nobody": {authentication.User{}, []authentication.CodeRequest{resetRequest()}, digits, authentication.ErrWrongCode},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.expectReset(tc.user, tc.requests...)
				_, err := f.ResetPassword(context.Background(), email, tc.digits, "a better one", client())
				require.ErrorIs(t, err, tc.want)
				require.Empty(t, f.events.Events())
				f.requireTx(t, 1, 0)
			})
		}
	})

	t.Run("refuses another browser and an unknown address alike, and neither locks nor hashes", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.requests.EXPECT().Bound(outside, email, reset, [][]byte{browserDigest()}).Return(false, nil)
		_, err := f.ResetPassword(context.Background(), email, digits, "a better one", client())
		require.ErrorIs(t, err, authentication.ErrOtherBrowser)
		f.requireTx(t, 0, 0)
	})

	t.Run("touches no code when the request is bad", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.requests.EXPECT().Bound(outside, email, reset, gomock.Any()).Return(true, nil)
		_, err := f.ResetPassword(context.Background(), "an", digits, "a better one", client())
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
		_, err = f.ResetPassword(context.Background(), email, digits, "short", client())
		require.ErrorIs(t, err, authentication.ErrBody)
		f.passwords.EXPECT().Hash(outside, "a better one").Return("", authentication.ErrBusy)
		_, err = f.ResetPassword(context.Background(), email, digits, "a better one", client())
		require.ErrorIs(t, err, authentication.ErrBusy)
	})
}

// remembered is a caller whose login was for days.
func remembered() authentication.Identity {
	return authentication.Identity{User: activeUser(), Session: authentication.Session{ID: sessionID, Remember: true}}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	change := func(f *fixture) (authentication.Login, error) {
		return f.ChangePassword(context.Background(), remembered(), password, "a better one", client())
	}

	t.Run("replaces the password, ends every session and tells the user", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		locked := activeUser()
		locked.FullName = "changed meanwhile"
		want := locked
		want.PasswordHash, want.TokensValidAfter, want.UpdatedAt = "better hash", start, start
		gomock.InOrder(
			f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, false, nil),
			f.passwords.EXPECT().Hash(outside, "a better one").Return("better hash", nil),
			f.users.EXPECT().LockByID(inside, userID).Return(locked, nil),
			f.users.EXPECT().Update(inside, want),
			f.requests.EXPECT().OfAddress(inside, email, reset).Return([]authentication.CodeRequest{resetRequest()}, nil),
			f.requests.EXPECT().Delete(inside, []string{requestID}),
			f.sessions.EXPECT().EndOthers(inside, userID, "", start),
		)
		f.opens(want, true)
		login, err := change(f)
		require.NoError(t, err)
		require.Equal(t, authentication.Token{Value: token.Value, Lifetime: policy.Remember}, login.Token)
		require.Equal(t, []string{"login", "login succeeded"}, f.guard.calls)
		require.Equal(t, event.NoticePasswordChanged, f.events.Events()[0].Data.(event.SecurityNotice).Kind)
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		limit := authentication.TryAgainIn(time.Minute)
		newer := activeUser()
		newer.PasswordHash = "changed meanwhile"
		for name, tc := range map[string]struct {
			expect func(f *fixture)
			want   error
			guard  []string
		}{
			"over a limit": {func(f *fixture) {
				f.guard.refuse = map[string]error{"login": limit}
			}, limit, []string{"login"}},
			"a wrong old password, which counts": {func(f *fixture) {
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, nil)
			}, authentication.ErrWrongPassword, []string{"login"}},
			"while the pool is full": {func(f *fixture) {
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, authentication.ErrBusy)
			}, authentication.ErrBusy, []string{"login", "login undone"}},
			"an old password that was changed meanwhile": {func(f *fixture) {
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, false, nil)
				f.passwords.EXPECT().Hash(outside, "a better one").Return("better hash", nil)
				f.users.EXPECT().LockByID(inside, userID).Return(newer, nil)
			}, authentication.ErrWrongPassword, []string{"login", "login undone"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				tc.expect(f)
				_, err := change(f)
				require.ErrorIs(t, err, tc.want)
				require.Equal(t, tc.guard, f.guard.calls)
				require.Empty(t, f.events.Events())
			})
		}
		f := newFixture(t)
		_, err := f.ChangePassword(context.Background(), remembered(), password, "short", client())
		require.ErrorIs(t, err, authentication.ErrBody)
		require.Contains(t, apperror.From(err).Fields, "new_password")
	})
}
