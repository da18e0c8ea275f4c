package sqldb_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

func TestUsers(t *testing.T) {
	t.Parallel()

	t.Run("are read as they were created", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			full := newUser("an@example.com")
			require.NoError(s, s.users.Create(context.Background(), full))
			bare := authentication.User{
				ID: uuid.NewString(), Email: "binh@example.com", Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
			}
			require.NoError(s, s.within(func(ctx context.Context) error { return s.users.Create(ctx, bare) }))
			require.False(s, s.column("full_name", bare.ID).Valid, "what was not given is NULL")

			for _, want := range []authentication.User{full, bare} {
				s.bothWays(func(ctx context.Context) {
					got, err := s.users.ByID(ctx, want.ID)
					require.NoError(s, err)
					require.Equal(s, want, got)
					got, err = s.users.ByEmail(ctx, want.Email)
					require.NoError(s, err)
					require.Equal(s, want, got)
				})
				require.NoError(s, s.within(func(ctx context.Context) error {
					got, err := s.users.LockByEmail(ctx, want.Email)
					require.Equal(s, want, got)
					return err
				}))
			}
		})
	})

	t.Run("have times in UTC and microseconds", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := newUser("an@example.com")
			u.CreatedAt = time.Date(2026, 1, 31, 16, 30, 0, 123456789, time.FixedZone("ICT", 7*60*60))
			require.NoError(s, s.users.Create(context.Background(), u))
			got, err := s.users.ByID(context.Background(), u.ID)
			require.NoError(s, err)
			require.Equal(s, now, got.CreatedAt)
		})
	})

	t.Run("are not found", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			gone := s.createUser("gone@example.com")
			s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, now)
			notFound := func(ctx context.Context, id, email string) {
				_, err := s.users.ByID(ctx, id)
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
				_, err = s.users.ByEmail(ctx, email)
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
				err = s.users.Update(ctx, authentication.User{ID: id, Email: email, UpdatedAt: now})
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
			}
			s.bothWays(func(ctx context.Context) {
				notFound(ctx, uuid.NewString(), "nobody@example.com")
				notFound(ctx, gone.ID, gone.Email)
				notFound(ctx, "no uuid", "")
				notFound(ctx, "", "%")
			})
			require.NoError(s, s.within(func(ctx context.Context) error {
				_, err := s.users.LockByEmail(ctx, gone.Email)
				require.ErrorIs(s, err, authentication.ErrUserNotFound)
				_, err = s.users.ByID(ctx, uuid.NewString())
				require.ErrorIs(s, err, authentication.ErrUserNotFound, "the transaction is still usable")
				return nil
			}))
		})
	})

	t.Run("are locked in a transaction only", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			_, err := s.users.LockByEmail(context.Background(), "an@example.com")
			require.ErrorIs(s, err, database.ErrNoTx)
		})
	})

	t.Run("have an address of their own, whatever its case", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			first := s.createUser("an@example.com")
			for _, email := range []string{"an@example.com", "AN@Example.COM"} {
				s.bothWays(func(ctx context.Context) { require.NoError(s, s.users.Create(ctx, newUser(email))) })
				got, err := s.users.ByEmail(context.Background(), email)
				require.NoError(s, err)
				require.Equal(s, first, got, "the one who has it stays")
			}
			s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", first.ID, now)
			second := s.createUser("An@example.com")
			got, err := s.users.ByEmail(context.Background(), "an@EXAMPLE.com")
			require.NoError(s, err)
			require.Equal(s, second.ID, got.ID, "a deleted user does not stand in the way, and is not found")
		})
	})

	t.Run("are one when several are created for an address at once, and all see that one", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			var all sync.WaitGroup
			var seen [8]string
			var failed [8]error
			for i := range seen {
				all.Go(func() {
					failed[i] = s.db.WithinTxRetry(context.Background(), func(ctx context.Context) error {
						if err := s.users.Create(ctx, newUser("an@example.com")); err != nil {
							return err
						}
						u, err := s.users.LockByEmail(ctx, "AN@example.com")
						seen[i] = u.ID
						return err
					})
				})
			}
			all.Wait()
			for i := range seen {
				require.NoError(s, failed[i])
				require.Equal(s, seen[0], seen[i])
			}
		})
	})

	t.Run("are purged when they have never been active, and hold nothing", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			create := func(email string, change func(*authentication.User)) authentication.User {
				u := newUser(email)
				u.Active = false
				if change != nil {
					change(&u)
				}
				require.NoError(s, s.users.Create(context.Background(), u))
				return u
			}
			gone := create("gone@example.com", nil)
			create("young@example.com", func(u *authentication.User) { u.CreatedAt = now.Add(time.Second) })
			create("active@example.com", func(u *authentication.User) { u.Active = true })
			s.save(newRequest(create("asking@example.com", nil).Email))
			previous := create("previous@example.com", nil)
			s.exec("UPDATE users SET provisional = NULL WHERE id = $1", previous.ID)
			old := create("old-pod@example.com", nil)
			s.exec("UPDATE users SET is_active = true WHERE id = $1", old.ID)
			paying, plan := create("paying@example.com", nil), uuid.NewString()
			s.exec("INSERT INTO plans (id, name, code, max_usage, created_at, updated_at) VALUES ($1, 'Pro', 'pro', 1, $2, $2)", plan, now)
			s.exec(`INSERT INTO subscriptions (id, user_id, plan_id, status, starts_at, created_at, updated_at)
				VALUES ($1, $2, $3, 'active', $4, $4, $4)`, uuid.NewString(), paying.ID, plan, now)
			purge := func(then time.Time) int64 {
				n, err := s.users.PurgeProvisional(context.Background(), then)
				require.NoError(s, err)
				return n
			}
			require.Zero(s, purge(now))
			require.Equal(s, int64(1), purge(now.Add(time.Microsecond)))
			_, err := s.users.ByID(context.Background(), gone.ID)
			require.ErrorIs(s, err, authentication.ErrUserNotFound)
		})
	})

	t.Run("are not purged while they register", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			if s.db.Dialect() == database.SQLite { // one transaction at a time
				return
			}
			u := newUser("an@example.com")
			u.Active = false
			require.NoError(s, s.users.Create(context.Background(), u))
			purge := func() {
				n, err := s.users.PurgeProvisional(context.Background(), now.Add(time.Hour))
				require.NoError(s, err)
				require.Zero(s, n)
			}
			require.NoError(s, s.within(func(ctx context.Context) error {
				_, err := s.users.LockByEmail(ctx, u.Email)
				require.NoError(s, err)
				purge()
				return s.requests.Save(ctx, newRequest(u.Email))
			}))
			purge()
		})
	})

	t.Run("are provisional until they are active", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := newUser("an@example.com")
			u.Active = false
			require.NoError(s, s.users.Create(context.Background(), u))
			provisional := func() (n int) {
				row := s.db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT count(*) FROM users WHERE provisional")
				require.NoError(s, row.Scan(&n))
				return n
			}
			require.NoError(s, s.users.Update(context.Background(), u))
			require.Equal(s, 1, provisional())
			u.Active = true
			require.NoError(s, s.users.Update(context.Background(), u))
			require.Zero(s, provisional())
			s.createUser("binh@example.com")
			require.Zero(s, provisional(), "nor is one who was created active")
		})
	})

	t.Run("are rolled back", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u, refused := newUser("an@example.com"), errors.New("refused")
			err := s.within(func(ctx context.Context) error {
				require.NoError(s, s.users.Create(ctx, u))
				require.NoError(s, s.requests.Save(ctx, newRequest(u.Email)))
				return refused
			})
			require.ErrorIs(s, err, refused)
			_, err = s.users.ByID(context.Background(), u.ID)
			require.ErrorIs(s, err, authentication.ErrUserNotFound)
			require.Empty(s, s.ofAddress(u.Email))
		})
	})

	t.Run("are updated, and keep what this package does not know", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			before, other := s.createUser("an@example.com"), s.createUser("binh@example.com")
			s.exec("UPDATE users SET avatar_url = 'a.png', otp = '123456' WHERE id = $1", before.ID)
			s.bothWays(func(ctx context.Context) {
				u := authentication.User{
					ID: before.ID, Email: "An@Example.com", PasswordHash: "new hash", Role: authentication.RoleUser,
					CreatedAt: now.Add(-time.Hour), UpdatedAt: now.Add(time.Hour), AvatarURL: "a.png",
				}
				require.NoError(s, s.users.Update(ctx, u))
				got, err := s.users.ByID(ctx, before.ID)
				require.NoError(s, err)
				u.CreatedAt = before.CreatedAt
				require.Equal(s, u, got)
			})
			err := s.users.Update(context.Background(), authentication.User{ID: before.ID, Email: "other@example.com", UpdatedAt: now})
			require.ErrorIs(s, err, authentication.ErrUserNotFound, "another address would be another user's")
			require.Equal(s, "a.png", s.column("avatar_url", before.ID).String, "what this package does not know stays")
			require.Equal(s, "123456", s.column("otp", before.ID).String)
			got, err := s.users.ByID(context.Background(), other.ID)
			require.NoError(s, err)
			require.Equal(s, other, got)
		})
	})

	t.Run("are read from rows of the previous release", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			id := uuid.NewString()
			s.exec(`INSERT INTO users (id, username, is_active, created_at, updated_at) VALUES ($1, 'An@Example.com', NULL, $2, $2)`,
				id, now)
			want := authentication.User{
				ID: id, Email: "An@Example.com", Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
			}
			s.bothWays(func(ctx context.Context) {
				got, err := s.users.ByID(ctx, id)
				require.NoError(s, err)
				require.Equal(s, want, got)
				got, err = s.users.ByEmail(ctx, "an@example.com")
				require.NoError(s, err)
				require.Equal(s, want, got)
			})
		})
	})

	// Only PostgreSQL's tables may be the previous release's.
	t.Run("are read without their times", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			if s.db.Dialect() != database.Postgres {
				return
			}
			for values, want := range map[string][2]time.Time{
				"created_at = NULL":                    {now.Add(time.Minute), now.Add(time.Minute)},
				"updated_at = NULL":                    {now, now},
				"created_at = NULL, updated_at = NULL": {time.Unix(0, 0).UTC(), time.Unix(0, 0).UTC()},
			} {
				u := s.createUser(uuid.NewString() + "@example.com")
				s.exec("UPDATE users SET "+values+", full_name = '', role_hash = NULL WHERE id = $1", u.ID)
				u.FullName, u.Role, u.CreatedAt, u.UpdatedAt = "", authentication.RoleUser, want[0], want[1]
				got, err := s.users.ByEmail(context.Background(), u.Email)
				require.NoError(s, err)
				require.Equal(s, u, got, values)

				u.Role, u.UpdatedAt = authentication.RoleAdmin, now
				require.NoError(s, s.users.Update(context.Background(), u))
				got, err = s.users.ByID(context.Background(), u.ID)
				require.NoError(s, err)
				require.Equal(s, authentication.RoleAdmin, got.Role)
			}
		})
	})

	// The hashes were computed apart from this program: printf 'ADMIN:smap:role' | openssl dgst -sha256 -binary | base64
	t.Run("hide what they were from the previous release while they are disabled", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			for name, active := range map[string]bool{"active@example.com": true, "pending@example.com": false} {
				u := newUser(name)
				u.Active = active
				require.NoError(s, s.users.Create(s.Context(), u))
				s.exec("UPDATE users SET otp = '123456', otp_expired_at = $2 WHERE id = $1", u.ID, now)
				disabled := u
				disabled.DisabledAt = now
				require.NoError(s, s.users.Update(s.Context(), disabled))
				for _, hidden := range []string{"password_hash", "otp", "otp_expired_at"} {
					require.False(s, s.column(hidden, u.ID).Valid, hidden)
				}
				var isActive bool
				row := s.db.Conn(s.Context()).QueryRowContext(s.Context(), "SELECT is_active FROM users WHERE id = $1", u.ID)
				require.NoError(s, row.Scan(&isActive))
				require.False(s, isActive)

				got, err := s.users.ByEmail(s.Context(), name)
				require.NoError(s, err)
				require.Equal(s, disabled, got)
				got.FullName = "An B" // and they are changed as others are
				require.NoError(s, s.users.Update(s.Context(), got))
				got.DisabledAt = time.Time{}
				require.NoError(s, s.users.Update(s.Context(), got))
				again, err := s.users.ByID(s.Context(), u.ID)
				require.NoError(s, err)
				require.Equal(s, got, again)
				require.Equal(s, u.PasswordHash, s.column("password_hash", u.ID).String)
				require.False(s, s.column("disabled_hash", u.ID).Valid)
			}
		})
	})

	t.Run("are not taken for unused or unproven ones while they are disabled", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := newUser("an@example.com")
			u.Active = false
			require.NoError(s, s.users.Create(s.Context(), u))
			u.DisabledAt = now
			require.NoError(s, s.users.Update(s.Context(), u))
			n, err := s.users.PurgeProvisional(s.Context(), now.Add(time.Hour))
			require.NoError(s, err)
			require.Zero(s, n)
			n, err = s.users.DeleteInvited(s.Context(), []string{u.ID}, now)
			require.NoError(s, err)
			require.Zero(s, n)
		})
	})

	t.Run("who administer are locked in the order of their ids, those who are deleted left out", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			var want []authentication.User
			for _, name := range []string{"c@example.com", "B@example.com", "gone@example.com"} {
				u := newUser(name)
				u.Role = authentication.RoleAdmin
				require.NoError(s, s.users.Create(s.Context(), u))
				want = append(want, u)
			}
			plain := newUser("user@example.com")
			plain.Role = authentication.RoleUser
			require.NoError(s, s.users.Create(s.Context(), plain))
			require.NoError(s, s.within(func(ctx context.Context) error { return s.users.Delete(ctx, want[2].ID, now) }))
			found, err := s.users.Admins(s.Context())
			require.NoError(s, err)
			require.Equal(s, []authentication.User{want[1], want[0]}, found)
			require.NoError(s, s.within(func(ctx context.Context) error {
				locked, err := s.users.LockAdmins(ctx)
				require.ElementsMatch(s, want[:2], locked)
				require.True(s, slices.IsSortedFunc(locked, func(a, b authentication.User) int { return strings.Compare(a.ID, b.ID) }))
				return err
			}))
			_, err = s.users.LockAdmins(s.Context())
			require.ErrorIs(s, err, database.ErrNoTx)
		})
	})

	t.Run("are deleted, and leave their address to others", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			u := s.createUser("an@example.com")
			remove := func(ctx context.Context) error { return s.users.Delete(ctx, u.ID, now) }
			require.ErrorIs(s, remove(s.Context()), database.ErrNoTx)
			require.NoError(s, s.within(remove))
			require.ErrorIs(s, s.within(remove), authentication.ErrUserNotFound)
			_, err := s.users.ByID(s.Context(), u.ID)
			require.ErrorIs(s, err, authentication.ErrUserNotFound)
			require.True(s, s.column("deleted_at", u.ID).Valid)
			require.True(s, s.column("tokens_valid_after", u.ID).Valid)
			s.createUser("an@example.com")
		})
	})

	t.Run("have roles spelt as the previous release does", func(t *testing.T) {
		t.Parallel()
		const admin, user = "0zSAZYTmciCygbBTf9Oy3uv4NOZ5ofqp1cIUNJ20uuc=", "Qo/0rRZsRtxX/swtnaZUEuxYysrbsb1ts6QzdXycMnQ="
		each(t, func(s suite) {
			u := newUser("an@example.com")
			u.Role = authentication.RoleAdmin
			require.NoError(s, s.users.Create(context.Background(), u))
			require.Equal(s, admin, s.column("role_hash", u.ID).String)
			u.Role = authentication.RoleUser
			require.NoError(s, s.users.Update(context.Background(), u))
			require.Equal(s, user, s.column("role_hash", u.ID).String)

			for stored, want := range map[string]authentication.Role{
				admin: authentication.RoleAdmin, user: authentication.RoleUser, "ADMIN": authentication.RoleUser, "": authentication.RoleUser,
			} {
				s.exec("UPDATE users SET role_hash = $2 WHERE id = $1", u.ID, stored)
				got, err := s.users.ByID(context.Background(), u.ID)
				require.NoError(s, err)
				require.Equal(s, want, got.Role, stored)
			}
		})
	})
}
