package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
)

// newGuardedFixture is newFixture with a guard that insists on its calls, their arguments and their order.
func newGuardedFixture(t *testing.T) (*fixture, *mock.MockGuard) {
	t.Helper()
	f, guard := newFixture(t), mock.NewMockGuard(gomock.NewController(t))
	f.guardedBy(guard)
	return f, guard
}

func TestGuardIsAsked(t *testing.T) {
	t.Parallel()
	tag := []uint16{codeKey.PasswordTag(email, password)}
	// lookup are the calls for a password that is wrong or that of an active user.
	lookup := func(f *fixture, right bool) []any {
		return []any{
			f.users.EXPECT().ByEmail(outside, email).Return(activeUser(), nil),
			f.requests.EXPECT().OfPassword(outside, email, tag),
			f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(right, false, nil),
		}
	}
	inOrder := func(calls ...any) {
		var all []*gomock.Call
		for _, c := range calls {
			all = append(all, c.(*gomock.Call))
		}
		gomock.InOrder(all...)
	}
	limit := authentication.TryAgainIn(time.Minute)

	t.Run("to count a password before it is looked up", func(t *testing.T) {
		t.Parallel()
		verbs := map[string]func(f *fixture) error{
			"login": func(f *fixture) error {
				_, err := f.Login(context.Background(), credentials(), false, client())
				return err
			},
			"send-otp": func(f *fixture) error {
				_, err := f.SendCode(context.Background(), credentials(), client())
				return err
			},
		}
		for name, verb := range verbs {
			f, guard := newGuardedFixture(t)
			inOrder(append([]any{guard.EXPECT().Login(outside, email, client())}, lookup(f, false)...)...)
			require.ErrorIs(t, verb(f), authentication.ErrWrongPassword, name)

			f, guard = newGuardedFixture(t)
			guard.EXPECT().Login(outside, email, client()).Return(errBroken)
			require.ErrorIs(t, verb(f), errBroken, "%s: a guess that was not counted is not made", name)
		}
	})

	t.Run("and told that a password has opened a session, once that is committed", func(t *testing.T) {
		t.Parallel()
		for _, counted := range []error{nil, errBroken} {
			f, guard := newGuardedFixture(t)
			calls := append([]any{guard.EXPECT().Login(outside, email, client())}, lookup(f, true)...)
			inOrder(append(calls,
				f.users.EXPECT().LockByID(inside, userID).Return(activeUser(), nil),
				guard.EXPECT().LoginSucceeded(outside, email, client()).
					Do(func(context.Context, string, authentication.Client) { f.requireTx(t, 1, 0) }).Return(counted))...)
			f.opens(activeUser(), false)
			_, err := f.Login(context.Background(), credentials(), false, client())
			require.NoError(t, err, "what is only counted undoes nothing")
		}
	})

	t.Run("to count a password that waits for its code no longer, after the look-up", func(t *testing.T) {
		t.Parallel()
		for name, user := range map[string]authentication.User{
			"new": invitedUser(), "active": activeUser(), "unverified": pendingUser(), "gone": {},
		} {
			f, guard := newGuardedFixture(t) // which expects nothing else
			counted := guard.EXPECT().Login(outside, email, client())
			f.expectPending(user, storedRequest())
			guard.EXPECT().LoginUndone(outside, email, client()).After(counted)
			_, err := f.Login(context.Background(), credentials(), false, client())
			require.ErrorIs(t, err, authentication.ErrNotVerified, name)
		}
	})

	t.Run("for a code in the transaction, before anything is looked up or stored", func(t *testing.T) {
		t.Parallel()
		f, guard := newGuardedFixture(t)
		guard.EXPECT().MaySend(outside, email, client(), authentication.SendRegistration).Return(limit)
		_, err := f.Register(context.Background(), credentials(), client())
		require.ErrorIs(t, err, limit, "before it is hashed")
		f.requireTx(t, 0, 0)

		f, guard = newGuardedFixture(t)
		gomock.InOrder(
			guard.EXPECT().MaySend(outside, email, client(), authentication.SendRegistration),
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil),
			guard.EXPECT().Send(inside, email, client(), authentication.SendRegistration).Return(limit),
		)
		_, err = f.Register(context.Background(), credentials(), client())
		require.ErrorIs(t, err, limit)
		f.requireTx(t, 0, 1)

		for kind, change := range map[authentication.SendKind]func(*authentication.CodeRequest){
			authentication.SendResend:      func(r *authentication.CodeRequest) { r.Code.CreatedAt = start.Add(-time.Minute) },
			authentication.SendReplacement: func(r *authentication.CodeRequest) { r.Code.WrongTries = authentication.MaxWrongTries },
		} {
			f, guard = newGuardedFixture(t)
			login := guard.EXPECT().Login(outside, email, client())
			f.expectPending(invitedUser(), changedRequest(change))
			guard.EXPECT().LoginUndone(outside, email, client())
			may := guard.EXPECT().MaySend(outside, email, client(), kind).After(login)
			guard.EXPECT().Send(inside, email, client(), kind).Return(limit).After(may)
			_, err = f.SendCode(context.Background(), credentials(), client())
			require.ErrorIs(t, err, limit, kind)
			f.requireTx(t, 0, 1)
		}
	})

	t.Run("what became of a code once that is committed", func(t *testing.T) {
		t.Parallel()
		f, guard := newGuardedFixture(t)
		f.expectRequests(invitedUser(), storedRequest())
		gomock.InOrder(
			f.requests.EXPECT().Save(inside, gomock.Any()),
			guard.EXPECT().CodeFailed(outside, email).Do(func(context.Context, string) { f.requireTx(t, 1, 0) }),
		)
		_, err := f.Verify(context.Background(), email, "654321", client())
		require.ErrorIs(t, err, authentication.ErrWrongCode)
	})
}
