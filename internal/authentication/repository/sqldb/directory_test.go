package sqldb_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

func TestCountByState(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		s.createUser("an@example.com")
		s.createUser("binh@example.com")
		pending := newUser("lan@example.com")
		pending.Active = false
		require.NoError(s, s.users.Create(context.Background(), pending))
		gone := s.createUser("mai@example.com")
		s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		s.exec("UPDATE users SET is_active = NULL WHERE username = 'binh@example.com'")
		counts, err := s.users.CountByState(context.Background())
		require.NoError(s, err)
		require.Equal(s, map[string]int{"active": 1, "not_verified": 2, "disabled": 0, "deleted": 1}, counts)
		id, at, err := s.users.LastDeleted(context.Background(), "MAI@example.com")
		require.NoError(s, err)
		require.Equal(s, gone.ID, id)
		require.Equal(s, now, at)
		_, _, err = s.users.LastDeleted(context.Background(), "an@example.com")
		require.ErrorIs(s, err, authentication.ErrUserNotFound)
	})
}

func TestDirectory(t *testing.T) {
	t.Parallel()

	t.Run("lists the newest first", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			var newestFirst []string
			for i := range 5 {
				u := newUser(fmt.Sprintf("u%d@example.com", i))
				u.CreatedAt = now.Add(time.Duration(i/2) * time.Hour) // some at the same time
				require.NoError(s, s.users.Create(context.Background(), u))
				newestFirst = append(newestFirst, u.ID)
			}
			// Of the same time the lower id comes first, and ids of version 7 ascend.
			newestFirst = []string{newestFirst[4], newestFirst[2], newestFirst[3], newestFirst[0], newestFirst[1]}
			deleted := s.createUser("deleted@example.com")
			s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", deleted.ID, now)

			list := func(ctx context.Context, f authentication.UserFilter) (ids []string, total int) {
				users, total, err := s.users.List(ctx, f)
				require.NoError(s, err)
				for _, u := range users {
					ids = append(ids, u.ID)
				}
				return ids, total
			}
			s.bothWays(func(ctx context.Context) {
				for offset, want := range map[int][]string{
					0: newestFirst[:2], 2: newestFirst[2:4], 4: newestFirst[4:], 5: nil, 1 << 40: nil,
				} {
					ids, total := list(ctx, authentication.UserFilter{Limit: 2, Offset: offset})
					require.Equal(s, want, ids, offset)
					require.Equal(s, 5, total)
				}
				ids, total := list(ctx, authentication.UserFilter{Limit: 9, IDs: []string{
					newestFirst[3], newestFirst[1], newestFirst[1], strings.ToUpper(newestFirst[0]), deleted.ID, uuid.NewString(), "x",
				}})
				require.Equal(s, []string{newestFirst[0], newestFirst[1], newestFirst[3]}, ids)
				require.Equal(s, 3, total)
			})
		})
	})

	t.Run("lists users of the previous release", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			old := s.createUser("old@example.com")
			s.exec("UPDATE users SET full_name = '', avatar_url = NULL, role_hash = NULL, is_active = NULL WHERE id = $1", old.ID)
			if s.db.Dialect() == database.Postgres { // only there the tables may be the previous release's
				s.exec("UPDATE users SET created_at = NULL, updated_at = NULL WHERE id = $1", old.ID)
			} else {
				s.exec("UPDATE users SET created_at = $2 WHERE id = $1", old.ID, now.Add(-time.Hour))
			}
			s.createUser("an@example.com")
			users, total, err := s.users.List(context.Background(), authentication.UserFilter{Limit: 2})
			require.NoError(s, err)
			require.Equal(s, 2, total)
			require.Equal(s, old.ID, users[1].ID, "without a time it is the last")
			require.Equal(s, authentication.RoleUser, users[1].Role)
			require.Empty(s, users[1].FullName+users[1].AvatarURL)
		})
	})

	t.Run("changes what a profile has set, and nothing else", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u, other := s.createUser("an@example.com"), s.createUser("binh@example.com")
			u.FullName, u.AvatarURL = "An", "https://a.example/an.png"
			update := func(ctx context.Context, p authentication.Profile, later time.Duration) {
				u.UpdatedAt = now.Add(later)
				got, err := s.users.UpdateProfile(ctx, u.ID, p, u.UpdatedAt)
				require.NoError(s, err)
				require.Equal(s, u, got)
				got, err = s.users.ByID(ctx, u.ID)
				require.NoError(s, err)
				require.Equal(s, u, got)
			}
			s.bothWays(func(ctx context.Context) {
				u.FullName, u.AvatarURL = "An", "https://a.example/an.png"
				update(ctx, authentication.Profile{FullName: &u.FullName, AvatarURL: &u.AvatarURL}, time.Hour)
				u.FullName = "Bình"
				update(ctx, authentication.Profile{FullName: &u.FullName}, 2*time.Hour)
				u.AvatarURL = ""
				update(ctx, authentication.Profile{AvatarURL: &u.AvatarURL}, 3*time.Hour)
			})
			require.False(s, s.column("avatar_url", u.ID).Valid, "NULL, as the previous release has it")
			got, err := s.users.ByID(context.Background(), other.ID)
			require.NoError(s, err)
			require.Equal(s, other, got)

			s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", u.ID, now)
			for _, id := range []string{u.ID, uuid.NewString(), "x"} {
				_, err := s.users.UpdateProfile(context.Background(), id, authentication.Profile{FullName: &u.FullName}, now)
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
			}
		})
	})
}
