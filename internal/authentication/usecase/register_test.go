package usecase_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
)

// expectRegistration expects the calls of a registration whose address has this user, which are the same for every user.
func (f *fixture) expectRegistration(
	user authentication.User, others []authentication.CodeRequest, out []string,
) (created *authentication.User, saved *authentication.CodeRequest) {
	created, saved = &authentication.User{}, &authentication.CodeRequest{}
	gomock.InOrder(
		f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil),
		f.users.EXPECT().Create(inside, gomock.Any()).Do(func(_ context.Context, u authentication.User) { *created = u }),
		f.users.EXPECT().LockByEmail(inside, gomock.Any()).Return(user, nil),
		f.requests.EXPECT().OfAddress(inside, gomock.Any(), purpose).Return(others, nil),
		f.requests.EXPECT().Delete(inside, out),
		f.requests.EXPECT().Save(inside, gomock.Any()).
			Do(func(_ context.Context, r authentication.CodeRequest) { *saved = r }),
		f.requests.EXPECT().Bind(inside, gomock.Any(), browserDigest()),
	)
	return created, saved
}

func TestRegister(t *testing.T) {
	t.Parallel()

	t.Run("stores user, request, browser and event in one commit", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		created, saved := f.expectRegistration(invitedUser(), nil, []string{})
		c := authentication.Credentials{Email: " An@Example.com ", Password: password}
		value, err := f.Register(context.Background(), c, client())
		require.NoError(t, err)
		require.Equal(t, browser, value)
		f.requireTx(t, 1, 0)
		require.Equal(t, []string{"may send registration", "send registration"}, f.guard.calls)

		require.NoError(t, uuid.Validate(created.ID))
		require.Equal(t, authentication.User{
			ID: created.ID, Email: "An@Example.com", Locale: "vi", Role: authentication.RoleUser,
			CreatedAt: start, UpdatedAt: start,
		}, *created, "as typed, not active, and without the password")

		events := f.events.Events()
		require.Len(t, events, 1)
		require.Equal(t, event.EmailVerificationRequested, events[0].Key)
		require.Equal(t, start, events[0].Time)
		data := events[0].Data.(event.VerificationRequested)
		require.Equal(t, event.VerificationRequested{
			UserID: userID, Recipient: "An@Example.com", OTPCode: data.OTPCode, Locale: "vi", ExpiresAt: start.Add(10 * time.Minute),
		}, data)
		require.Equal(t, authentication.CodeRequest{
			ID: saved.ID, Purpose: purpose, Email: "An@Example.com", UserID: userID, Locale: "vi", Network: "203.0.113.0/24",
			PasswordHash: "new hash", PasswordTag: codeKey.PasswordTag(email, password), CreatedAt: start,
			Code: authentication.Code{
				EventID: events[0].ID, Digest: codeKey.Digest(purpose, saved.ID, data.OTPCode),
				CreatedAt: start, ExpiresAt: start.Add(10 * time.Minute),
			},
		}, *saved)
	})

	t.Run("does the same for an address with an account, whose owner gets a notice", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		owner := activeUser()
		owner.Email, owner.Locale = "AN@example.com", "en"
		_, saved := f.expectRegistration(owner, nil, []string{})
		_, err := f.Register(context.Background(), credentials(), client())
		require.NoError(t, err)
		events := f.events.Events()
		require.Len(t, events, 1)
		require.Equal(t, event.EmailAccountExistsRequested, events[0].Key)
		require.Equal(t, event.AccountExistsMail{UserID: userID, Recipient: "AN@example.com", Locale: "en"}, events[0].Data)
		require.Equal(t, "new hash", saved.PasswordHash, "its password is remembered as any other's")
		require.Equal(t, events[0].ID, saved.Code.EventID)
	})

	t.Run("pushes out what has no place, and fails when there is none", func(t *testing.T) {
		t.Parallel()
		mine := changedRequest(func(r *authentication.CodeRequest) { r.ID = "mine" })
		older := changedRequest(func(r *authentication.CodeRequest) {
			r.ID = "older"
			r.Code.CreatedAt = start.Add(-time.Minute)
		})
		f := newFixture(t)
		f.expectRegistration(invitedUser(), []authentication.CodeRequest{mine, older}, []string{"older"})
		_, err := f.Register(context.Background(), credentials(), client())
		require.NoError(t, err)

		full := make([]authentication.CodeRequest, authentication.MaxRequests)
		for i := range full {
			full[i] = changedRequest(func(r *authentication.CodeRequest) { r.Network = "198.51.100.0/24" })
		}
		f = newFixture(t)
		f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
		f.users.EXPECT().Create(inside, gomock.Any())
		f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
		f.requests.EXPECT().OfAddress(inside, email, purpose).Return(full, nil)
		_, err = f.Register(context.Background(), credentials(), client())
		require.ErrorIs(t, err, errLimited)
		f.requireTx(t, 0, 1)
	})

	t.Run("pushes out a stranger's request for a network that has logged in", func(t *testing.T) {
		t.Parallel()
		full := make([]authentication.CodeRequest, authentication.MaxRequests)
		for i := range full {
			full[i] = changedRequest(func(r *authentication.CodeRequest) {
				r.ID, r.Network = strconv.Itoa(i), "198.51.100.0/24"
				r.Code.CreatedAt = start.Add(-time.Duration(i) * time.Minute)
			})
		}
		f := newFixture(t)
		c := client()
		f.guard.known = []string{c.Network()}
		f.expectRegistration(activeUser(), full, []string{"4"})
		_, err := f.Register(context.Background(), credentials(), c)
		require.NoError(t, err)
	})

	t.Run("creates a user in place of one who is purged meanwhile", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
		gomock.InOrder(
			f.users.EXPECT().Create(inside, gomock.Any()),
			f.users.EXPECT().LockByEmail(inside, email).Return(authentication.User{}, authentication.ErrUserNotFound),
			f.users.EXPECT().Create(inside, gomock.Any()),
			f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil),
		)
		f.requests.EXPECT().OfAddress(inside, email, purpose)
		f.requests.EXPECT().Delete(inside, gomock.Any())
		f.requests.EXPECT().Save(inside, gomock.Any())
		f.requests.EXPECT().Bind(inside, gomock.Any(), gomock.Any())
		_, err := f.Register(context.Background(), credentials(), client())
		require.NoError(t, err)
	})

	t.Run("names a browser that has no name", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var bound []byte
		f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
		f.users.EXPECT().Create(inside, gomock.Any())
		f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), nil)
		f.requests.EXPECT().OfAddress(inside, email, purpose)
		f.requests.EXPECT().Delete(inside, gomock.Any())
		f.requests.EXPECT().Save(inside, gomock.Any())
		f.requests.EXPECT().Bind(inside, gomock.Any(), gomock.Any()).Do(func(_ context.Context, _ string, b []byte) { bound = b })
		value, err := f.Register(context.Background(), credentials(), authentication.Client{Browsers: []string{"planted"}})
		require.NoError(t, err)
		digest, ok := authentication.BrowserDigest(value)
		require.True(t, ok)
		require.Equal(t, digest, bound)
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
				_, err := f.Register(context.Background(), tc.credentials, client())
				require.ErrorIs(t, err, tc.want)
				f.requireTx(t, 0, 0)
				require.Empty(t, f.events.Events())
			})
		}
	})

	t.Run("stores nothing when a step fails", func(t *testing.T) {
		t.Parallel()
		limit := authentication.TryAgainIn(time.Minute)
		steps := []func(f *fixture, err error){
			func(f *fixture, err error) { f.guard.refuse = map[string]error{"send registration": err} },
			func(f *fixture, err error) { f.users.EXPECT().Create(inside, gomock.Any()).Return(err) },
			func(f *fixture, err error) { f.users.EXPECT().LockByEmail(inside, email).Return(invitedUser(), err) },
			func(f *fixture, err error) { f.requests.EXPECT().OfAddress(inside, email, purpose).Return(nil, err) },
			func(f *fixture, err error) {
				if err != nil {
					f.guard.refuse = map[string]error{"known": err}
				}
			},
			func(f *fixture, err error) { f.requests.EXPECT().Delete(inside, gomock.Any()).Return(err) },
			func(f *fixture, err error) { f.requests.EXPECT().Save(inside, gomock.Any()).Return(err) },
			func(f *fixture, err error) { f.events.Err = err },
			func(f *fixture, err error) { f.requests.EXPECT().Bind(inside, gomock.Any(), gomock.Any()).Return(err) },
		}
		for failing := range steps {
			want := errBroken
			if failing == 0 {
				want = limit
			}
			f := newFixture(t)
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
			for i, expect := range steps[:failing+1] {
				if i == failing {
					expect(f, want)
				} else {
					expect(f, nil)
				}
			}
			_, err := f.Register(context.Background(), credentials(), client())
			require.ErrorIs(t, err, want, "step %d", failing)
			f.requireTx(t, 0, 1)
		}
	})

	t.Run("returns errors", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.passwords.EXPECT().Hash(outside, password).Return("", authentication.ErrBusy)
		_, err := f.Register(context.Background(), credentials(), client())
		require.ErrorIs(t, err, authentication.ErrBusy, "of a full pool, without a transaction")
		f.requireTx(t, 0, 0)

		f = newFixture(t)
		f.tx.commitErr = errBroken
		f.expectRegistration(invitedUser(), nil, []string{})
		_, err = f.Register(context.Background(), credentials(), client())
		require.ErrorIs(t, err, errBroken, "of the commit")
	})
}
