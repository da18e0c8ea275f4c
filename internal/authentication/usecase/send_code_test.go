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

// expectLookup expects what every password causes: the user and the requests are read, and the user's hash is tried.
func (f *fixture) expectLookup(u authentication.User, right bool, requests ...authentication.CodeRequest) {
	var err error
	if u.ID == "" {
		err = authentication.ErrUserNotFound
	}
	gomock.InOrder(
		f.users.EXPECT().ByEmail(outside, email).Return(u, err),
		f.requests.EXPECT().OfPassword(outside, email, []uint16{codeKey.PasswordTag(email, password)}).Return(requests, nil),
		f.passwords.EXPECT().Verify(outside, u.PasswordHash, password).Return(right, false, nil),
	)
}

// expectPending expects a password that is that of a request.
func (f *fixture) expectPending(u authentication.User, request authentication.CodeRequest) {
	f.expectLookup(u, false, request)
	f.passwords.EXPECT().Verify(outside, "pending hash", password).Return(true, false, nil)
}

func (f *fixture) expectPassword(u authentication.User) { f.expectLookup(u, true) }

func TestSendCode(t *testing.T) {
	t.Parallel()

	t.Run("makes another code in the request of the password", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			age    time.Duration
			change func(*authentication.CodeRequest)
			user   authentication.User
			kind   string
			key    event.RoutingKey
		}{
			"after exactly a minute": {age: time.Minute, user: invitedUser()},
			"after it has expired":   {age: time.Hour, user: invitedUser()},
			"at once when wrong tries have ended it": {
				change: func(r *authentication.CodeRequest) { r.Code.WrongTries = 5 }, user: invitedUser(), kind: "replacement",
			},
			"for a user who is gone": {age: time.Minute},
			"for an account, whose owner gets a notice": {
				age: time.Minute, user: activeUser(), key: event.EmailAccountExistsRequested,
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(tc.age)
				last := changedRequest(tc.change)
				var saved authentication.CodeRequest
				f.expectPending(tc.user, last)
				var gone error
				if tc.user.ID == "" {
					gone = authentication.ErrUserNotFound
				}
				gomock.InOrder(
					f.users.EXPECT().LockByEmail(inside, email).Return(tc.user, gone),
					f.requests.EXPECT().OfAddress(inside, email, purpose).Return([]authentication.CodeRequest{last}, nil),
					f.requests.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, r authentication.CodeRequest) { saved = r }),
					f.requests.EXPECT().Bind(inside, requestID, browserDigest()),
				)
				value, err := f.SendCode(context.Background(), credentials(), client())
				require.NoError(t, err)
				require.Equal(t, browser, value)
				f.requireTx(t, 1, 0)
				kind := "resend"
				if tc.kind != "" {
					kind = tc.kind
				}
				require.Equal(t, []string{"login", "login undone", "may send " + kind, "send " + kind}, f.guard.calls)

				events := f.events.Events()
				require.Len(t, events, 1)
				require.Equal(t, events[0].ID, saved.Code.EventID)
				require.NotEqual(t, last.Code.EventID, saved.Code.EventID)
				require.Zero(t, saved.Code.WrongTries)
				require.Equal(t, f.clock.now, saved.Code.CreatedAt)
				require.Equal(t, f.clock.now.Add(10*time.Minute), saved.Code.ExpiresAt)
				require.Equal(t, "pending hash", saved.PasswordHash)
				if tc.key != "" {
					require.Equal(t, tc.key, events[0].Key)
					return
				}
				data := events[0].Data.(event.VerificationRequested)
				require.Equal(t, "vi", data.Locale)
				require.Equal(t, codeKey.Digest(purpose, requestID, data.OTPCode), saved.Code.Digest)
			})
		}
	})

	t.Run("only lets this browser spend the last code within a minute", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			age   time.Duration
			guard map[string]error
		}{
			"right after registering":        {},
			"a microsecond too soon":         {age: time.Minute - time.Microsecond},
			"or as the guard has counted it": {age: time.Minute, guard: map[string]error{"send resend": authentication.ErrTooSoon}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.clock.now = start.Add(tc.age)
				f.guard.refuse = tc.guard
				f.expectPending(invitedUser(), storedRequest())
				f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
				f.requests.EXPECT().OfAddress(inside, email, purpose).Return([]authentication.CodeRequest{storedRequest()}, nil)
				f.requests.EXPECT().Bind(inside, requestID, browserDigest())
				_, err := f.SendCode(context.Background(), credentials(), client())
				require.NoError(t, err)
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("makes the first request of a user of the previous release", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var saved authentication.CodeRequest
		f.expectPassword(pendingUser())
		f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
		f.requests.EXPECT().OfAddress(inside, email, purpose)
		f.requests.EXPECT().Delete(inside, []string{})
		f.requests.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, r authentication.CodeRequest) { saved = r })
		f.requests.EXPECT().Bind(inside, gomock.Any(), browserDigest())
		_, err := f.SendCode(context.Background(), credentials(), client())
		require.NoError(t, err)
		require.Equal(t, "stored hash", saved.PasswordHash, "the password they have")
		require.Equal(t, codeKey.PasswordTag(email, password), saved.PasswordTag)
		require.Equal(t, []string{"login", "login undone", "may send registration", "send registration"}, f.guard.calls, "is counted, however soon")
		require.Len(t, f.events.Events(), 1)
	})

	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		limit := authentication.TryAgainIn(time.Minute)
		for name, tc := range map[string]struct {
			expect    func(*fixture)
			want      error
			rollbacks int
			guard     []string
		}{
			"everybody before any look-up, over a limit": {expect: func(f *fixture) {
				f.guard.refuse = map[string]error{"login": limit}
			}, want: limit, guard: []string{"login"}},
			"an unknown address, after hashing": {expect: func(f *fixture) {
				f.expectLookup(authentication.User{}, false)
			}, want: authentication.ErrWrongPassword, guard: []string{"login"}},
			"a wrong password of a verified user": {expect: func(f *fixture) {
				f.expectLookup(activeUser(), false)
			}, want: authentication.ErrWrongPassword, guard: []string{"login"}},
			"a password whose tag is another's": {expect: func(f *fixture) {
				f.expectLookup(invitedUser(), false, storedRequest())
				f.passwords.EXPECT().Verify(outside, "pending hash", password).Return(false, false, nil)
			}, want: authentication.ErrWrongPassword, guard: []string{"login"}},
			"a verified user": {expect: func(f *fixture) {
				f.expectPassword(activeUser())
			}, want: authentication.ErrAlreadyVerified, guard: []string{"login", "login undone"}},
			"too many codes": {expect: func(f *fixture) {
				f.clock.now = start.Add(time.Minute)
				f.guard.refuse = map[string]error{"send resend": limit}
				f.expectPending(invitedUser(), storedRequest())
			}, want: limit, rollbacks: 1, guard: []string{"login", "login undone", "may send resend", "send resend"}},
			"a request that was pushed out in the meantime": {expect: func(f *fixture) {
				f.expectPending(invitedUser(), storedRequest())
				f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
				f.requests.EXPECT().OfAddress(inside, email, purpose)
			}, want: authentication.ErrWrongPassword, rollbacks: 1, guard: []string{"login", "login undone"}},
			"a user of the previous release who verified in the meantime": {expect: func(f *fixture) {
				f.expectPassword(pendingUser())
				f.users.EXPECT().LockByEmail(inside, email).Return(activeUser(), nil)
			}, want: authentication.ErrWrongPassword, rollbacks: 1, guard: []string{"login", "login undone", "may send registration", "send registration"}},
			"everybody while the pool is full": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(pendingUser(), nil)
				f.requests.EXPECT().OfPassword(outside, email, gomock.Any())
				f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(false, false, authentication.ErrBusy)
			}, want: authentication.ErrBusy, guard: []string{"login", "login undone"}},
			"everybody while the database is away": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(authentication.User{}, errBroken)
			}, want: errBroken, guard: []string{"login", "login undone"}},
			"when the requests cannot be read": {expect: func(f *fixture) {
				f.users.EXPECT().ByEmail(outside, email).Return(pendingUser(), nil)
				f.requests.EXPECT().OfPassword(outside, email, gomock.Any()).Return(nil, errBroken)
			}, want: errBroken, guard: []string{"login", "login undone"}},
			"when the event cannot be stored": {expect: func(f *fixture) {
				f.clock.now = start.Add(time.Minute)
				f.events.Err = errBroken
				f.expectPending(invitedUser(), storedRequest())
				f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
				f.requests.EXPECT().OfAddress(inside, email, purpose).Return([]authentication.CodeRequest{storedRequest()}, nil)
				f.requests.EXPECT().Save(inside, gomock.Any())
			}, want: errBroken, rollbacks: 1, guard: []string{"login", "login undone", "may send resend", "send resend"}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				tc.expect(f)
				_, err := f.SendCode(context.Background(), credentials(), client())
				require.ErrorIs(t, err, tc.want)
				f.requireTx(t, 0, tc.rollbacks)
				require.Empty(t, f.events.Events())
				require.Equal(t, tc.guard, f.guard.calls)
			})
		}
	})

	t.Run("refuses an invalid address", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		_, err := f.SendCode(context.Background(), authentication.Credentials{Email: "an", Password: password}, client())
		require.ErrorIs(t, err, authentication.ErrInvalidEmail)
	})
}
