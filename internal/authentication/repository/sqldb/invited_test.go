package sqldb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// createInvited creates an invited user for each address, and returns them.
func (s suite) createInvited(emails ...string) []authentication.User {
	s.Helper()
	users := make([]authentication.User, len(emails))
	for i, email := range emails {
		users[i] = authentication.User{
			ID: uuid.Must(uuid.NewV7()).String(), Email: email, Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
		}
	}
	require.NoError(s, s.within(func(ctx context.Context) error {
		created, err := s.users.CreateInvited(ctx, users)
		require.ElementsMatch(s, emails, created)
		return err
	}))
	return users
}

func TestInvitedUsers(t *testing.T) {
	t.Parallel()

	t.Run("are created unless the address is in use", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			s.createUser("An@example.com")
			emails := make([]string, 50)
			for i := range emails {
				emails[i] = fmt.Sprintf("person-%d@example.com", i)
			}
			for _, want := range s.createInvited(emails...) {
				got, err := s.users.ByID(context.Background(), want.ID)
				require.NoError(s, err)
				require.Equal(s, want, got)
				require.False(s, s.column("password_hash", want.ID).Valid)
			}
			require.NoError(s, s.within(func(ctx context.Context) error {
				created, err := s.users.CreateInvited(ctx, []authentication.User{
					newUser("an@example.com"), newUser(emails[0]), newUser("new@example.com"),
				})
				require.Equal(s, []string{"new@example.com"}, created)
				return err
			}))
		})
	})

	t.Run("are deleted while nobody has used them, and then erased", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			ctx := context.Background()
			all := s.createInvited("an@example.com", "binh@example.com", "chi@example.com", "dung@example.com")
			registered, verified, previous, open := all[0], all[1], all[2], all[3]
			registered.PasswordHash, verified.Active = "hash", true
			require.NoError(s, s.users.Update(ctx, registered))
			require.NoError(s, s.users.Update(ctx, verified))
			s.exec("UPDATE users SET is_active = NULL, password_hash = '' WHERE id = $1", previous.ID)
			ids := []string{uuid.NewString(), registered.ID, verified.ID, previous.ID, open.ID}

			require.NoError(s, s.users.EraseInvited(ctx, ids))
			for want := range 2 {
				n, err := s.users.DeleteInvited(ctx, ids, now.Add(time.Hour))
				require.NoError(s, err)
				require.Equal(s, int64(2-2*want), n)
			}
			require.True(s, s.column("deleted_at", open.ID).Valid)
			require.NoError(s, s.users.EraseInvited(ctx, ids))
			var left int
			require.NoError(s, s.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&left))
			require.Equal(s, 2, left)
			for _, u := range []authentication.User{registered, verified} {
				_, err := s.users.ByID(ctx, u.ID)
				require.NoError(s, err)
			}
		})
	})

	t.Run("who were deleted with a password are not erased", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := s.createUser("an@example.com")
			s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", u.ID, now)
			require.NoError(s, s.users.EraseInvited(context.Background(), []string{u.ID}))
			require.True(s, s.column("username", u.ID).Valid)
		})
	})

	t.Run("are created in a transaction only", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			_, err := s.users.CreateInvited(context.Background(), nil)
			require.ErrorIs(s, err, database.ErrNoTx)
		})
	})
}

func TestLockByID(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		u := s.createUser("an@example.com")
		_, err := s.users.LockByID(context.Background(), u.ID)
		require.ErrorIs(s, err, database.ErrNoTx)
		require.NoError(s, s.within(func(ctx context.Context) error {
			for _, id := range []string{uuid.NewString(), "x"} {
				_, err := s.users.LockByID(ctx, id)
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
			}
			got, err := s.users.LockByID(ctx, u.ID)
			require.Equal(s, u, got)
			return err
		}))
	})
}
