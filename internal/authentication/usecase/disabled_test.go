package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

func disabledUser() authentication.User {
	return user(func(u *authentication.User) { u.DisabledAt = start.Add(-time.Hour) })
}

func disabledPending() authentication.User {
	u := pendingUser()
	u.DisabledAt = start.Add(-time.Hour)
	return u
}

// A disabled account opens to nothing, and says why to its password alone.
func TestDisabled(t *testing.T) {
	t.Parallel()
	for name, stored := range map[string]authentication.User{"verified": disabledUser(), "unverified": disabledPending()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("login", func(t *testing.T) {
				t.Parallel()
				login := func(f *fixture) error {
					_, err := f.Login(context.Background(), credentials(), false, client())
					return err
				}
				f := newFixture(t)
				f.expectLookup(stored, true)
				require.ErrorIs(t, login(f), authentication.ErrDisabled)
				require.Equal(t, []string{"login", "login undone"}, f.guard.calls)
				f = newFixture(t)
				f.expectLookup(stored, false)
				require.ErrorIs(t, login(f), authentication.ErrWrongPassword)
				require.Equal(t, []string{"login"}, f.guard.calls)
				f = newFixture(t)
				f.expectPending(stored, storedRequest())
				require.ErrorIs(t, login(f), authentication.ErrNotVerified, "as of every other account")
			})

			t.Run("send-otp", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.expectLookup(stored, true)
				_, err := f.SendCode(context.Background(), credentials(), client())
				require.ErrorIs(t, err, authentication.ErrDisabled)
				f = newFixture(t)
				f.expectLookup(stored, false)
				_, err = f.SendCode(context.Background(), credentials(), client())
				require.ErrorIs(t, err, authentication.ErrWrongPassword)

				f = newFixture(t)
				f.clock.now = start.Add(time.Minute)
				f.expectPending(stored, storedRequest())
				f.users.EXPECT().LockByEmail(inside, email).Return(stored, nil)
				f.requests.EXPECT().OfAddress(inside, email, purpose).Return([]authentication.CodeRequest{storedRequest()}, nil)
				f.requests.EXPECT().Save(inside, gomock.Any())
				f.requests.EXPECT().Bind(inside, requestID, browserDigest())
				_, err = f.SendCode(context.Background(), credentials(), client())
				require.NoError(t, err)
				require.Equal(t, event.EmailAccountExistsRequested, f.events.Events()[0].Key, "the code is mailed to nobody")
			})

			t.Run("verify-otp", func(t *testing.T) {
				t.Parallel()
				used := changedRequest(func(r *authentication.CodeRequest) { r.Code.UsedAt = start })
				for _, request := range []authentication.CodeRequest{storedRequest(), used} {
					f := newFixture(t)
					f.expectRequests(stored, request)
					f.requests.EXPECT().Save(inside, gomock.Any())
					_, err := f.Verify(context.Background(), email, digits, client())
					require.ErrorIs(t, err, authentication.ErrWrongCode)
					require.Equal(t, []string{"code failed"}, f.guard.calls)
				}
			})

			t.Run("forgot-password", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.users.EXPECT().LockByEmail(inside, email).Return(stored, nil)
				f.requests.EXPECT().OfAddress(inside, email, reset)
				f.requests.EXPECT().Delete(inside, []string{})
				f.requests.EXPECT().Save(inside, gomock.Any())
				f.requests.EXPECT().Bind(inside, gomock.Any(), browserDigest())
				_, err := f.ForgotPassword(context.Background(), email, client())
				require.NoError(t, err)
				require.Empty(t, f.events.Events())
			})

			t.Run("reset-password", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.expectReset(stored, resetRequest())
				_, err := f.ResetPassword(context.Background(), email, digits, "a better one", client())
				require.ErrorIs(t, err, authentication.ErrWrongCode)
				require.Empty(t, f.events.Events())
			})

			t.Run("accept-invitation", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.users.EXPECT().LockByID(inside, userID).Return(stored, nil)
				err := f.tx.WithinTxRetry(context.Background(), func(ctx context.Context) error {
					_, err := f.Activate(ctx, userID, "new hash", client())
					return err
				})
				require.ErrorIs(t, err, authentication.ErrUserNotFound)
			})

			t.Run("a session", func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.sessions.EXPECT().Find(outside, sessionID).Return(storedSession(nil), stored, nil)
				_, err := f.Identify(context.Background(), claimsAt(start))
				require.ErrorIs(t, err, authentication.ErrUnauthenticated)
				f.sessions.EXPECT().Lock(inside, sessionID).Return(storedSession(nil), stored, nil)
				_, err = f.Renew(context.Background(), claimsAt(start))
				require.ErrorIs(t, err, authentication.ErrUnauthenticated)
			})

			t.Run("the next code", func(t *testing.T) {
				t.Parallel()
				f := newMailFixture(t)
				f.clock.now = start.Add(11 * time.Minute)
				expired := event.Drop(event.DropExpired)
				data := event.VerificationRequested{UserID: userID}
				f.requests.EXPECT().ByEvent(outside, "evt_1").Return(storedRequest(), nil)
				f.mailer.EXPECT().SendVerification(gomock.Any(), "evt_1", data).Return(expired)
				f.mailer.EXPECT().NeverLeft(gomock.Any(), "evt_1").Return(true, nil)
				f.users.EXPECT().LockByID(inside, userID).Return(stored, nil)
				f.requests.EXPECT().ByEvent(inside, "evt_1").Return(storedRequest(), nil)
				require.Equal(t, expired, f.Send(context.Background(), "evt_1", data))
				require.Empty(t, f.events.Events())
			})
		})
	}

	t.Run("meanwhile, opens nothing either", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.expectPassword(activeUser())
		f.users.EXPECT().LockByID(inside, userID).Return(disabledUser(), nil)
		_, err := f.Login(context.Background(), credentials(), false, client())
		require.ErrorIs(t, err, authentication.ErrDisabled)

		f = newFixture(t)
		f.passwords.EXPECT().Verify(outside, "stored hash", password).Return(true, false, nil)
		f.passwords.EXPECT().Hash(outside, "a better one").Return("better hash", nil)
		f.users.EXPECT().LockByID(inside, userID).Return(disabledUser(), nil)
		_, err = f.ChangePassword(context.Background(), authentication.Identity{User: activeUser()}, password, "a better one", client())
		require.ErrorIs(t, err, authentication.ErrWrongPassword)

		f = newFixture(t)
		f.users.EXPECT().LockByID(inside, userID).Return(disabledUser(), nil)
		_, err = f.EndOtherSessions(context.Background(), authentication.Identity{User: activeUser()}, client())
		require.ErrorIs(t, err, authentication.ErrUnauthenticated)
	})
}

// What people do to their own account is recorded in the transaction of it.
func TestRecord(t *testing.T) {
	t.Parallel()
	t.Run("a session that was ended", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.sessions.EXPECT().End(inside, userID, sessionID, start)
		require.NoError(t, f.EndSession(context.Background(), userID, sessionID))
		require.Equal(t, []audit.Entry{{
			Action: audit.SessionEnded, ActorID: userID, UserID: userID, SubjectID: sessionID,
		}}, f.audit.entries)
	})
	t.Run("or it fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.audit.err = errBroken
		f.sessions.EXPECT().End(inside, userID, sessionID, start)
		require.ErrorIs(t, f.EndSession(context.Background(), userID, sessionID), errBroken)
		f.requireTx(t, 0, 1)
	})
	t.Run("a copy of a token, once", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.clock.now = start.Add(3 * time.Hour)
		session := storedSession(func(s *authentication.Session) {
			s.LastSeenAt, s.NewestIAT = f.clock.now, start.Add(time.Hour)
		})
		f.sessions.EXPECT().Lock(inside, sessionID).Return(session, activeUser(), nil).Times(3)
		other := claimsAt(start)
		other.ID = "another"
		for _, claims := range []authentication.Claims{claimsAt(start), claimsAt(start), other} {
			_, err := f.Renew(context.Background(), claims)
			require.ErrorIs(t, err, authentication.ErrUnauthenticated)
		}
		f.requireTx(t, 3, 0)
		e := f.audit.entries
		require.Equal(t, audit.Entry{ID: e[0].ID, Action: audit.TokenReused, Outcome: audit.Refused, UserID: userID, SubjectID: sessionID}, e[0])
		require.Equal(t, e[0].ID, e[1].ID, "one entry per token")
		require.NotEqual(t, e[0].ID, e[2].ID)
	})
}
