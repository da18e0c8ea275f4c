package sqldb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var (
	_ invitation.BatchRepository     = (*sqldb.Batches)(nil)
	_ invitation.BatchLocker         = (*sqldb.Batches)(nil)
	_ invitation.OpenBatchRepository = (*sqldb.Batches)(nil)
	_ invitation.Repository          = (*sqldb.Invitations)(nil)
	_ invitation.EventFinder         = (*sqldb.Invitations)(nil)
	_ invitation.Pager               = (*sqldb.Invitations)(nil)
	_ invitation.PurgeRepository     = (*sqldb.Invitations)(nil)
	_ invitation.PaceRepository      = (*sqldb.Pace)(nil)
)

var now = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

type suite struct {
	*testing.T
	db          *database.DB
	batches     *sqldb.Batches
	invitations *sqldb.Invitations
	pace        *sqldb.Pace
}

// onDatabase returns a test that runs on every engine.
func onDatabase(test func(s suite)) func(t *testing.T) {
	return func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			test(suite{t, db, sqldb.NewBatches(db), sqldb.NewInvitations(db), sqldb.NewPace(db)})
		})
	}
}

// within runs fn in a transaction. On SQLite a statement that went around it would wait for itself and fail.
func (s suite) within(fn func(ctx context.Context) error) {
	s.Helper()
	require.NoError(s, s.db.WithinTx(context.Background(), fn))
}

// bothWays runs fn without a transaction and in one.
func (s suite) bothWays(fn func(ctx context.Context)) {
	s.Helper()
	fn(context.Background())
	s.within(func(ctx context.Context) error {
		fn(ctx)
		return nil
	})
}

// createUser creates an account: batches and invitations refer to one.
func (s suite) createUser(email string) string {
	s.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	require.NoError(s, authsql.NewUsers(s.db).Create(context.Background(), authentication.User{
		ID: id, Email: email, Role: authentication.RoleUser, CreatedAt: now, UpdatedAt: now,
	}))
	return id
}

// createBatch creates a batch of the last user's.
func (s suite) createBatch(adminID string, change func(*invitation.Batch)) invitation.Batch {
	s.Helper()
	b := invitation.Batch{
		ID:            invitation.NewBatchID(),
		AdminID:       adminID,
		RequestDigest: []byte{0, 1, 0xff},
		Locale:        "vi",
		Total:         3,
		CreatedAt:     now,
		LastDueAt:     now.Add(time.Minute),
	}
	if change != nil {
		change(&b)
	}
	s.within(func(ctx context.Context) error {
		created, err := s.batches.Create(ctx, b)
		require.True(s, created)
		return err
	})
	return b
}

// createInvitations creates n invitations in a batch, in the order of their ids.
func (s suite) createInvitations(batchID string, n int) []invitation.Invitation {
	s.Helper()
	all := make([]invitation.Invitation, n)
	for i := range all {
		all[i] = invitation.Invitation{
			ID:        uuid.Must(uuid.NewV7()).String(),
			BatchID:   batchID,
			UserID:    s.createUser(uuid.NewString() + "@example.com"),
			EventID:   "evt_" + uuid.NewString(),
			Digest:    fmt.Append(nil, batchID, i),
			CreatedAt: now,
			ExpiresAt: now.Add(time.Duration(i+1) * time.Hour),
		}
	}
	s.within(func(ctx context.Context) error { return s.invitations.Create(ctx, all) })
	return all
}

func TestBatches(t *testing.T) {
	t.Parallel()

	t.Run("are read as they were stored", onDatabase(func(s suite) {
		b := s.createBatch(s.createUser("admin@example.com"), func(b *invitation.Batch) { b.IdempotencyKey = "key" })
		s.bothWays(func(ctx context.Context) {
			got, err := s.batches.ByKey(ctx, b.AdminID, "key")
			require.NoError(s, err)
			require.Equal(s, b, got)
		})
		for range 2 { // as it was created, and changed
			s.within(func(ctx context.Context) error {
				got, err := s.batches.Lock(ctx, b.ID)
				require.NoError(s, err)
				require.Equal(s, b, got)
				b.Total = 7
				b.LastDueAt = now.Add(time.Hour)
				b.MarkedAt = now.Add(time.Second)
				b.CancelledAt = now.Add(2 * time.Second)
				b.CompletedAt = now.Add(3 * time.Second)
				return s.batches.Save(ctx, b)
			})
		}
	}))

	t.Run("are created once per key and administrator", onDatabase(func(s suite) {
		withKey := func(b *invitation.Batch) { b.IdempotencyKey = "key" }
		first := s.createBatch(s.createUser("admin@example.com"), withKey)
		s.createBatch(s.createUser("second@example.com"), withKey)
		s.createBatch(first.AdminID, nil)
		s.createBatch(first.AdminID, nil)
		again := first
		again.ID = invitation.NewBatchID()
		s.within(func(ctx context.Context) error {
			created, err := s.batches.Create(ctx, again)
			require.False(s, created)
			return err
		})
	}))

	t.Run("are not found by what cannot be an id", onDatabase(func(s suite) {
		s.within(func(ctx context.Context) error {
			for _, id := range []string{invitation.NewBatchID(), "x", "", "proj_\x00"} {
				_, err := s.batches.Lock(ctx, id)
				require.ErrorIs(s, err, invitation.ErrBatchNotFound)
			}
			_, err := s.batches.ByKey(ctx, "x", "key")
			require.ErrorIs(s, err, invitation.ErrBatchNotFound)
			return nil
		})
	}))

	t.Run("are claimed by one process at a time, the longest waiting first", onDatabase(func(s suite) {
		admin := s.createUser("admin@example.com")
		old := s.createBatch(admin, func(b *invitation.Batch) { b.CreatedAt = now.Add(-time.Minute) })
		fresh := s.createBatch(admin, func(b *invitation.Batch) { b.CreatedAt = now.Add(-time.Second) })
		done := s.createBatch(admin, nil)
		s.within(func(ctx context.Context) error {
			done.CompletedAt = now
			return s.batches.Save(ctx, done)
		})
		claim := func(after time.Duration) (ids []string) {
			all, err := s.batches.ClaimOpen(context.Background(), now.Add(after), 10*time.Second, 1)
			require.NoError(s, err)
			for _, b := range all {
				ids = append(ids, b.ID)
			}
			return ids
		}
		require.Equal(s, []string{old.ID}, claim(0))
		require.Empty(s, claim(0), "the other is too fresh")
		require.Equal(s, []string{fresh.ID}, claim(9*time.Second))
		require.Equal(s, []string{old.ID}, claim(10*time.Second))
		require.Empty(s, claim(10*time.Second))
	}))
}

func TestInvitations(t *testing.T) {
	t.Parallel()

	t.Run("are read as they were stored", onDatabase(func(s suite) {
		batch := s.createBatch(s.createUser("admin@example.com"), nil)
		all := s.createInvitations(batch.ID, 5)
		s.createInvitations(s.createBatch(batch.AdminID, nil).ID, 1)
		s.bothWays(func(ctx context.Context) {
			first, err := s.invitations.Page(ctx, batch.ID, "", 3)
			require.NoError(s, err)
			require.Equal(s, all[:3], first)
			rest, err := s.invitations.Page(ctx, batch.ID, first[2].ID, 3)
			require.NoError(s, err)
			require.Equal(s, all[3:], rest)
			for _, want := range all {
				ofUser, err := s.invitations.OfUser(ctx, want.UserID)
				require.NoError(s, err)
				require.Equal(s, []invitation.Invitation{want}, ofUser)
				got, err := s.invitations.ByEvent(ctx, want.EventID)
				require.NoError(s, err)
				require.Equal(s, want, got)
				got, err = s.invitations.ByDigest(ctx, []byte{1}, want.Digest)
				require.NoError(s, err)
				require.Equal(s, want, got)
			}
			_, err = s.invitations.ByEvent(ctx, "evt_"+uuid.NewString())
			require.ErrorIs(s, err, invitation.ErrNotFound)
			_, err = s.invitations.ByDigest(ctx, []byte{1})
			require.ErrorIs(s, err, invitation.ErrNotFound)
		})
		all[0].AcceptedAt = now.Add(time.Minute)
		s.within(func(ctx context.Context) error {
			require.NoError(s, s.invitations.Save(ctx, all[0]))
			got, err := s.invitations.LockByDigest(ctx, []byte{1}, all[0].Digest)
			require.Equal(s, all[0], got)
			return err
		})
	}))

	t.Run("are cancelled once, unless they are accepted", onDatabase(func(s suite) {
		batch := s.createBatch(s.createUser("admin@example.com"), nil)
		all := s.createInvitations(batch.ID, 30)
		all[0].AcceptedAt = now
		ids := []string{"unknown"}
		for i := range all[:29] {
			ids = append(ids, all[i].EventID)
		}
		s.within(func(ctx context.Context) error {
			require.NoError(s, s.invitations.Save(ctx, all[0]))
			for _, want := range []int{28, 0} {
				cancelled, err := s.invitations.Cancel(ctx, ids, now)
				require.NoError(s, err)
				require.Len(s, cancelled, want)
			}
			n, err := s.invitations.CountCancelled(ctx, batch.ID)
			require.Equal(s, int64(28), n)
			return err
		})
	}))

	t.Run("expire in pages", onDatabase(func(s suite) {
		batch := s.createBatch(s.createUser("admin@example.com"), nil)
		all := s.createInvitations(batch.ID, 5) // one each hour
		all[1].AcceptedAt = now
		s.within(func(ctx context.Context) error { return s.invitations.Save(ctx, all[1]) })
		page := func(after string, limit int) []invitation.Invitation {
			got, err := s.invitations.ExpiredPage(context.Background(), now.Add(4*time.Hour), after, limit)
			require.NoError(s, err)
			return got
		}
		require.Equal(s, []invitation.Invitation{all[0], all[2]}, page("", 2))
		require.Equal(s, all[3:4], page(all[2].ID, 2))
		require.Empty(s, page(all[3].ID, 2))
	}))

	t.Run("are deleted with their old batch", onDatabase(func(s suite) {
		admin := s.createUser("admin@example.com")
		old := s.createBatch(admin, func(b *invitation.Batch) { b.LastDueAt = now.Add(-1) })
		fresh := s.createBatch(admin, func(b *invitation.Batch) { b.LastDueAt = now })
		gone, kept := s.createInvitations(old.ID, 2), s.createInvitations(fresh.ID, 1)
		ctx := context.Background()
		page, err := s.invitations.OldPage(ctx, now, "", 10)
		require.NoError(s, err)
		require.Equal(s, gone, page)
		page, err = s.invitations.OldPage(ctx, now, gone[0].ID, 1)
		require.NoError(s, err)
		require.Equal(s, gone[1:], page)
		n, err := s.invitations.DeleteOld(ctx, now, []string{old.ID})
		require.NoError(s, err)
		require.Zero(s, n, "it is kept")
		n, err = s.invitations.DeleteOld(ctx, now, nil)
		require.NoError(s, err)
		require.Equal(s, int64(1), n)
		_, err = s.invitations.ByEvent(ctx, gone[0].EventID)
		require.ErrorIs(s, err, invitation.ErrNotFound)
		_, err = s.invitations.ByEvent(ctx, kept[0].EventID)
		require.NoError(s, err)
	}))
}

func TestPace(t *testing.T) {
	t.Parallel()
	t.Run("is now until it is stored", onDatabase(func(s suite) {
		s.within(func(ctx context.Context) error {
			next, err := s.pace.Lock(ctx, now)
			require.NoError(s, err)
			require.Equal(s, now, next)
			return s.pace.Save(ctx, now.Add(time.Hour))
		})
		s.within(func(ctx context.Context) error {
			next, err := s.pace.Lock(ctx, now)
			require.Equal(s, now.Add(time.Hour), next)
			return err
		})
	}))
	t.Run("knows when the last mail of all batches is due", onDatabase(func(s suite) {
		at, err := s.pace.LastDue(context.Background())
		require.NoError(s, err)
		require.Zero(s, at)
		admin := s.createUser("admin@example.com")
		for _, after := range []time.Duration{time.Minute, time.Hour, time.Second} {
			s.createBatch(admin, func(b *invitation.Batch) { b.LastDueAt = now.Add(after) })
		}
		at, err = s.pace.LastDue(context.Background())
		require.NoError(s, err)
		require.Equal(s, now.Add(time.Hour), at)
	}))
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context, s suite) error{
		"Batches.Create": func(ctx context.Context, s suite) error {
			_, err := s.batches.Create(ctx, invitation.Batch{})
			return err
		},
		"Batches.Lock": func(ctx context.Context, s suite) error {
			_, err := s.batches.Lock(ctx, invitation.NewBatchID())
			return err
		},
		"Batches.Save":       func(ctx context.Context, s suite) error { return s.batches.Save(ctx, invitation.Batch{}) },
		"Batches.SaveReport": func(ctx context.Context, s suite) error { return s.batches.SaveReport(ctx, "", 0, nil) },
		"Invitations.Create": func(ctx context.Context, s suite) error {
			return s.invitations.Create(ctx, []invitation.Invitation{{}})
		},
		"Invitations.LockByDigest": func(ctx context.Context, s suite) error {
			_, err := s.invitations.LockByDigest(ctx, nil)
			return err
		},
		"Invitations.Save": func(ctx context.Context, s suite) error {
			return s.invitations.Save(ctx, invitation.Invitation{})
		},
		"Invitations.Cancel": func(ctx context.Context, s suite) error {
			_, err := s.invitations.Cancel(ctx, []string{"x"}, now)
			return err
		},
		"Pace.Lock": func(ctx context.Context, s suite) error {
			_, err := s.pace.Lock(ctx, now)
			return err
		},
		"Pace.Save": func(ctx context.Context, s suite) error { return s.pace.Save(ctx, now) },
	} {
		t.Run("are needed by "+name, onDatabase(func(s suite) {
			require.ErrorIs(s, write(context.Background(), s), database.ErrNoTx)
		}))
	}
}
