package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

// deletedUser creates a user who was deleted at a time.
func (s suite) deletedUser(email string, at time.Time) authentication.DeletedUser {
	s.Helper()
	u := s.createUser(email)
	s.exec("UPDATE users SET avatar_url = 'a', otp = '123456', otp_expired_at = $2, locale = 'vi' WHERE id = $1", u.ID, now)
	require.NoError(s, s.within(func(ctx context.Context) error { return s.users.Delete(ctx, u.ID, at) }))
	return authentication.DeletedUser{ID: u.ID, Email: email, DeletedAt: database.Truncate(at)}
}

func (s suite) lockDue(r *sqldb.Erasure, id string) (u authentication.DeletedUser, ok bool) {
	s.Helper()
	require.NoError(s, s.within(func(ctx context.Context) (err error) {
		u, ok, err = r.LockDue(ctx, id)
		return err
	}))
	return u, ok
}

func TestErasure(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		s.Run("finds those who were deleted by then, the first first", func(t *testing.T) {
			r, ctx := sqldb.NewErasure(s.db), context.Background()
			s.createUser("lives@example.com")
			second, first, third := s.deletedUser("2@example.com", now.Add(2)), s.deletedUser("1@example.com", now.Add(-time.Hour)),
				s.deletedUser("3@example.com", now.Add(time.Second))
			s.deletedUser("young@example.com", now.Add(time.Hour))
			all, err := r.Due(ctx, now.Add(time.Second), authentication.DeletedUser{}, 10)
			require.NoError(t, err)
			require.Equal(t, []authentication.DeletedUser{first, second, third}, all)
			page, err := r.Due(ctx, now.Add(time.Second), first, 1)
			require.NoError(t, err)
			require.Equal(t, []authentication.DeletedUser{second}, page)
			_, _, err = r.LockDue(ctx, first.ID)
			require.ErrorIs(t, err, database.ErrNoTx)
		})
	})
	each(t, func(s suite) {
		s.Run("knows since when the address is another's", func(t *testing.T) {
			r := sqldb.NewErasure(s.db)
			const email = "An@example.com"
			first := s.deletedUser(email, now.Add(time.Hour))
			locked, ok := s.lockDue(r, first.ID)
			require.True(t, ok)
			require.Equal(t, first, locked, "nobody has it")
			second := newUser("an@example.com")
			second.CreatedAt = now.Add(2 * time.Hour)
			require.NoError(t, s.users.Create(context.Background(), second))
			locked, _ = s.lockDue(r, first.ID)
			require.Equal(t, second.CreatedAt, locked.Until)
			require.NoError(t, s.within(func(ctx context.Context) error { return s.users.Delete(ctx, second.ID, now.Add(3*time.Hour)) }))
			locked, _ = s.lockDue(r, first.ID)
			require.Equal(t, second.CreatedAt, locked.Until, "they were another, also when they are gone")
			locked, _ = s.lockDue(r, second.ID)
			require.Zero(t, locked.Until, "who had it before has no part in it")
		})
	})
	each(t, func(s suite) {
		s.Run("leaves a row with the id and the times", func(t *testing.T) {
			r, ctx := sqldb.NewErasure(s.db), context.Background()
			u := s.deletedUser("an@example.com", now)
			other := s.createUser("an@example.com")
			for _, user := range []string{u.ID, other.ID} {
				require.NoError(t, s.sessions.Create(ctx, authentication.Session{
					ID: uuid.NewString(), UserID: user, CreatedAt: now, LastSeenAt: now, ExpiresAt: now, NewestIAT: now,
				}))
				s.exec("INSERT INTO ended_tokens (user_id, jti, expires_at) VALUES ($1, 'x', $2)", user, now)
				s.exec("INSERT INTO account_notices (user_id, event_id, claimed_at) VALUES ($1, 'x', $2)", user, now)
			}
			u.Until = now.Add(time.Minute)
			mine, theirs := newRequest("AN@example.com"), newRequest("an@example.com")
			mine.Code.CreatedAt, theirs.Code.CreatedAt = u.Until.Add(-time.Second), u.Until
			theirs.UserID = u.ID // it was made before the deletion, and renewed after it
			require.NoError(t, s.within(func(ctx context.Context) error {
				require.NoError(t, s.requests.Save(ctx, mine))
				require.NoError(t, s.requests.Bind(ctx, mine.ID, []byte("browser")))
				return s.requests.Save(ctx, theirs)
			}))

			require.ErrorIs(t, r.Erase(ctx, u), database.ErrNoTx)
			for range 2 {
				require.NoError(t, s.within(func(ctx context.Context) error { return r.Erase(ctx, u) }))
			}
			require.Equal(t, u.ID, s.column("username", u.ID).String)
			for _, name := range []string{
				"full_name", "avatar_url", "password_hash", "otp", "otp_expired_at", "role_hash", "locale", "disabled_at",
				"disabled_hash", "disabled_active", "provisional", "erased_at",
			} {
				require.False(t, s.column(name, u.ID).Valid, name)
			}
			for _, name := range []string{"is_active", "created_at", "updated_at", "deleted_at"} {
				require.True(t, s.column(name, u.ID).Valid, name)
			}
			for table, want := range map[string]int{
				"sessions": 1, "ended_tokens": 1, "account_notices": 1, "code_requests": 1, "code_request_browsers": 0,
			} {
				var n int
				require.NoError(t, s.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n))
				require.Equal(t, want, n, table)
			}
			found, err := s.users.ByEmail(ctx, "an@example.com")
			require.NoError(t, err)
			require.Equal(t, other.ID, found.ID)

			locked, ok := s.lockDue(r, u.ID)
			require.True(t, ok)
			require.True(t, locked.Emptied)
			for _, want := range []bool{true, false} {
				require.NoError(t, s.within(func(ctx context.Context) error {
					marked, err := r.MarkErased(ctx, u.ID, now)
					require.Equal(t, want, marked)
					return err
				}))
			}
			_, ok = s.lockDue(r, u.ID)
			require.False(t, ok)
			due, err := r.Due(ctx, now.Add(time.Hour), authentication.DeletedUser{}, 10)
			require.NoError(t, err)
			require.Empty(t, due)

			// A pod of the previous release writes the row that it has read before.
			_, err = s.db.Conn(ctx).ExecContext(ctx, "UPDATE users SET username = 'an@example.com', full_name = 'An' WHERE id = $1", u.ID)
			require.Error(t, err)
			_, err = s.db.Conn(ctx).ExecContext(ctx, "UPDATE users SET deleted_at = NULL WHERE id = $1", u.ID)
			require.Error(t, err)
		})
	})
	each(t, func(s suite) {
		s.Run("empties an account that was disabled", func(t *testing.T) {
			u := s.createUser("an@example.com")
			u.DisabledAt = now
			require.NoError(t, s.users.Update(context.Background(), u))
			require.NoError(t, s.within(func(ctx context.Context) error {
				require.NoError(t, s.users.Delete(ctx, u.ID, now))
				require.NoError(t, sqldb.NewErasure(s.db).Erase(ctx, authentication.DeletedUser{ID: u.ID, Email: u.Email, DeletedAt: now}))
				marked, err := sqldb.NewErasure(s.db).MarkErased(ctx, u.ID, now)
				require.True(t, marked)
				return err
			}))
		})
	})
	each(t, func(s suite) {
		s.Run("is not left out by what purges", func(t *testing.T) {
			ctx := context.Background()
			u := newUser("an@example.com")
			u.Active, u.PasswordHash = false, ""
			require.NoError(t, s.users.Create(ctx, u)) // provisional
			require.NoError(t, s.within(func(ctx context.Context) error { return s.users.Delete(ctx, u.ID, now) }))
			n, err := s.users.PurgeProvisional(ctx, now.Add(time.Hour))
			require.NoError(t, err)
			require.Zero(t, n)
			require.NoError(t, s.users.EraseInvited(ctx, []string{u.ID}))
			due, err := sqldb.NewErasure(s.db).Due(ctx, now, authentication.DeletedUser{}, 10)
			require.NoError(t, err)
			require.Len(t, due, 1)
		})
	})
}

func TestEraseLimits(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		ctx := context.Background()
		digests := [][]byte{[]byte("new"), []byte("old")}
		key := func(kind authentication.LimitKind) authentication.LimitKey {
			return authentication.LimitKey{Kind: kind}
		}
		save := func(digest []byte, kind authentication.LimitKind, at time.Time) {
			require.NoError(s, s.within(func(ctx context.Context) error {
				return s.limits.Save(ctx, [][]byte{digest}, map[authentication.LimitKey]authentication.Limit{key(kind): {LastAt: at, Count: 1}})
			}))
		}
		save(digests[0], authentication.LimitLogin, now.Add(-time.Second))
		save(digests[1], authentication.LimitKnown, now.Add(-time.Second))
		save(digests[0], authentication.LimitSend, now)
		save([]byte("another's"), authentication.LimitLogin, now.Add(-time.Second))
		require.NoError(s, s.within(func(ctx context.Context) error { return s.limits.Erase(ctx, digests, now) }))
		var n int
		require.NoError(s, s.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM limits").Scan(&n))
		require.Equal(s, 2, n, "a later one, and another's")
	})
}
