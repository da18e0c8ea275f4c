package sqldb_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

func (s suite) saveCode(c authentication.Code) {
	s.Helper()
	require.NoError(s, s.within(func(ctx context.Context) error { return s.codes.Save(ctx, c) }))
}

func TestCodes(t *testing.T) {
	t.Parallel()

	t.Run("replace the one before", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u, other := s.createUser("an@example.com"), s.createUser("binh@example.com")
			s.saveCode(newCode(other.ID))
			used := newCode(u.ID)
			used.WrongTries, used.UsedAt = 3, now.Add(time.Second)
			second := authentication.Code{
				UserID: u.ID, Purpose: purpose, Digest: []byte("second"), EventID: "evt_2",
				CreatedAt: now.Add(time.Minute), ExpiresAt: now.Add(11 * time.Minute),
			}
			for _, want := range []authentication.Code{newCode(u.ID), used, second} {
				s.saveCode(want)
				s.bothWays(func(ctx context.Context) {
					got, err := s.codes.Find(ctx, u.ID, purpose)
					require.NoError(s, err)
					require.Equal(s, want, got)
				})
			}
			got, err := s.codes.Find(context.Background(), other.ID, purpose)
			require.NoError(s, err)
			require.Equal(s, newCode(other.ID), got, "another user's code is untouched")
		})
	})

	t.Run("of two purposes live side by side", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := s.createUser("an@example.com")
			reset := newCode(u.ID)
			reset.Purpose, reset.EventID = "password_reset", "evt_2"
			s.saveCode(newCode(u.ID))
			s.saveCode(reset)
			for _, want := range []authentication.Code{newCode(u.ID), reset} {
				got, err := s.codes.Find(context.Background(), u.ID, want.Purpose)
				require.NoError(s, err)
				require.Equal(s, want, got)
			}
		})
	})

	t.Run("are not found", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := s.createUser("an@example.com")
			s.bothWays(func(ctx context.Context) {
				for _, id := range []string{u.ID, uuid.NewString(), uuid.Nil.String(), "no uuid", ""} {
					_, err := s.codes.Find(ctx, id, purpose)
					require.ErrorIs(s, err, authentication.ErrCodeNotFound)
				}
			})
		})
	})

	t.Run("are only saved in a transaction and for a user", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := s.createUser("an@example.com")
			require.ErrorIs(s, s.codes.Save(context.Background(), newCode(u.ID)), database.ErrNoTx)
			err := s.within(func(ctx context.Context) error { return s.codes.Save(ctx, newCode(uuid.NewString())) })
			require.Error(s, err)
		})
	})

	// Without the lock two transactions read the same count, and one of their tries is lost.
	t.Run("count every try under the lock of their user", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			const people, tries = 8, 5
			u := s.createUser("an@example.com")
			s.saveCode(newCode(u.ID))
			var all sync.WaitGroup
			for range people {
				all.Go(func() {
					for range tries {
						err := s.within(func(ctx context.Context) error { return s.tryOnce(ctx, u.Email) })
						if err != nil {
							s.Error(err)
						}
					}
				})
			}
			all.Wait()
			got, err := s.codes.Find(context.Background(), u.ID, purpose)
			require.NoError(s, err)
			require.Equal(s, people*tries, got.WrongTries)
		})
	})
}

func (s suite) tryOnce(ctx context.Context, email string) error {
	u, err := s.users.LockByEmail(ctx, email)
	if err != nil {
		return err
	}
	c, err := s.codes.Find(ctx, u.ID, purpose)
	if err != nil {
		return err
	}
	c.WrongTries++
	return s.codes.Save(ctx, c)
}
