package sqldb_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

func newNotices(s suite) *sqldb.Notices { return sqldb.NewNotices(s.db) }

var (
	own   = authentication.LimitKey{Kind: authentication.LimitLogin, Network: "203.0.113.0/24"}
	all   = authentication.LimitKey{Kind: authentication.LimitLogin}
	known = authentication.LimitKey{Kind: authentication.LimitKnown, Network: "203.0.113.0/24"}
)

func TestLimits(t *testing.T) {
	t.Parallel()
	digest, other := [][]byte{[]byte("an address")}, [][]byte{[]byte("another")}

	t.Run("are stored as they are, by address", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			want := authentication.Limit{Count: 1}
			want.Add(now)
			require.NoError(s, s.within(func(ctx context.Context) error {
				locked, err := s.limits.Lock(ctx, digest, now, all, own)
				require.NoError(s, err)
				require.Len(s, locked, 2)
				require.Zero(s, locked[own].Count)
				return s.limits.Save(ctx, digest, map[authentication.LimitKey]authentication.Limit{own: want})
			}))
			s.bothWays(func(ctx context.Context) {
				found, err := s.limits.Find(ctx, digest, own, known)
				require.NoError(s, err)
				require.Equal(s, map[authentication.LimitKey]authentication.Limit{own: want}, found)
				found, err = s.limits.Find(ctx, other, own, all)
				require.NoError(s, err)
				require.Empty(s, found)
			})
			require.NoError(s, s.limits.Forget(context.Background(), digest, own, known))
			found, err := s.limits.Find(context.Background(), digest, own, all)
			require.NoError(s, err)
			require.NotContains(s, found, own)
			require.Contains(s, found, all)
		})
	})

	t.Run("are locked in a transaction only, and lose no count", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			_, err := s.limits.Lock(context.Background(), digest, now, own)
			require.ErrorIs(s, err, database.ErrNoTx)
			var running sync.WaitGroup
			for range 20 {
				running.Go(func() {
					_ = s.within(func(ctx context.Context) error {
						limits, err := s.limits.Lock(ctx, digest, now, all, own)
						if err != nil {
							return err
						}
						for key, l := range limits {
							l.Add(now)
							limits[key] = l
						}
						return s.limits.Save(ctx, digest, limits)
					})
				})
			}
			running.Wait()
			found, err := s.limits.Find(context.Background(), digest, own, all)
			require.NoError(s, err)
			require.Equal(s, 20, found[own].Count)
			require.Equal(s, 20, found[all].Day.Count)
		})
	})

	t.Run("are forgotten in the order in which they are locked, and not purged while they are", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			if s.db.Dialect() == database.SQLite { // one transaction at a time
				return
			}
			for _, key := range []authentication.LimitKey{own, all} { // in the table the other way round
				require.NoError(s, s.within(func(ctx context.Context) error {
					_, err := s.limits.Lock(ctx, digest, now, key)
					return err
				}))
			}
			forgotten := make(chan error, 1)
			require.NoError(s, s.within(func(ctx context.Context) error {
				_, err := s.limits.Lock(ctx, digest, now, all)
				require.NoError(s, err)
				go func() { forgotten <- s.limits.Forget(context.Background(), digest, own, all) }()
				require.Eventually(s, func() bool {
					var waiting int
					err := s.db.Conn(context.Background()).QueryRowContext(context.Background(),
						"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
					return err == nil && waiting > 0
				}, 10*time.Second, 10*time.Millisecond)
				_, err = s.limits.Lock(ctx, digest, now, own)
				require.NoError(s, err)
				n, err := s.limits.Purge(context.Background(), now.Add(100*24*time.Hour))
				require.NoError(s, err)
				require.Zero(s, n)
				return nil
			}))
			require.NoError(s, <-forgotten)
		})
	})

	t.Run("are the same to processes with two keys, whichever is the first", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			a, b := []byte("under one key"), []byte("under the other")
			pods := [][][]byte{{a}, {a, b}, {b, a}, {b}}
			count := func(digests [][]byte, keys ...authentication.LimitKey) {
				require.NoError(s, s.within(func(ctx context.Context) error {
					limits, err := s.limits.Lock(ctx, digests, now, keys...)
					if err != nil {
						return err
					}
					for key, l := range limits {
						l.Add(now)
						limits[key] = l
					}
					return s.limits.Save(ctx, digests, limits)
				}))
			}
			count(pods[0], all, own)
			count(pods[3], all)
			var running sync.WaitGroup
			for range 5 {
				running.Go(func() { count(pods[1], all, own) })
				running.Go(func() { count(pods[2], all, own) })
				running.Go(func() { count(pods[2], own) })
			}
			running.Wait()
			for _, digests := range pods[1:3] {
				found, err := s.limits.Find(context.Background(), digests, all, own, known)
				require.NoError(s, err)
				require.Len(s, found, 2)
				require.Equal(s, 12, found[all].Count)
				require.Equal(s, 16, found[own].Hour.Count)
			}
			count(pods[2], all, own)
			found, err := s.limits.Find(context.Background(), pods[3], all, own)
			require.NoError(s, err)
			require.Equal(s, 13, found[all].Count, "saving moves it to the first key")
			found, err = s.limits.Find(context.Background(), pods[0], all, own)
			require.NoError(s, err)
			require.Empty(s, found)
			require.NoError(s, s.limits.Forget(context.Background(), pods[1], all, own))
			found, err = s.limits.Find(context.Background(), pods[2], all, own)
			require.NoError(s, err)
			require.Empty(s, found)
		})
	})

	t.Run("know a network under either key", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			ctx := context.Background()
			a, b := []byte("under one key"), []byte("under the other")
			require.NoError(s, s.limits.Know(ctx, [][]byte{a}, known.Network, now))
			require.NoError(s, s.limits.Know(ctx, [][]byte{b, a}, known.Network, now.Add(25*time.Hour)))
			for _, digests := range [][][]byte{{a, b}, {b, a}, {b}} {
				found, err := s.limits.Find(ctx, digests, known)
				require.NoError(s, err)
				require.Equal(s, now.Add(25*time.Hour), found[known].LastAt)
			}
		})
	})

	t.Run("know a network for 30 days, and the rest for a day", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			ctx := context.Background()
			at := func() time.Time {
				found, err := s.limits.Find(ctx, digest, known)
				require.NoError(s, err)
				return found[known].LastAt
			}
			require.NoError(s, s.limits.Know(ctx, digest, known.Network, now))
			require.NoError(s, s.limits.Know(ctx, digest, known.Network, now.Add(23*time.Hour)))
			require.Equal(s, now, at(), "written once a day")
			require.NoError(s, s.limits.Know(ctx, digest, known.Network, now.Add(25*time.Hour)))
			require.Equal(s, now.Add(25*time.Hour), at())
			require.NoError(s, s.within(func(ctx context.Context) error {
				_, err := s.limits.Lock(ctx, digest, now.Add(25*time.Hour), own)
				return err
			}))
			purge := func(after time.Duration) int64 {
				n, err := s.limits.Purge(ctx, now.Add(25*time.Hour+after))
				require.NoError(s, err)
				return n
			}
			require.Zero(s, purge(24*time.Hour))
			require.Equal(s, int64(1), purge(24*time.Hour+time.Second))
			require.Zero(s, purge(30*24*time.Hour))
			require.Equal(s, int64(1), purge(30*24*time.Hour+time.Second))
		})
	})
}
