package redisdb_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/internal/project/repository/redisdb"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	each(t, "counts open projects, and how long one stands still", func(s suite) {
		if !s.alone {
			_, _, err := s.store.Standing(ctx) // of all tests
			require.NoError(s, err)
			return
		}
		open, longest, err := s.store.Standing(ctx)
		require.NoError(s, err)
		require.Zero(s, open)
		require.Zero(s, longest)

		other := suite{T: s.T, client: s.client, store: s.store, id: s.id + "-other"}
		s.init(owner, 2)
		s.mark(ok("a"))
		other.init(owner, 2)
		other.mark(ok("a"))
		require.NoError(s, s.client.PExpire(ctx, redisdb.Key(s.id), life-time.Hour).Err())
		open, longest, err = s.store.Standing(ctx)
		require.NoError(s, err)
		require.Equal(s, 2, open)
		require.GreaterOrEqual(s, longest, time.Hour)

		s.mark(ok("b")) // done
		s.signalled()
		require.NoError(s, s.client.Persist(ctx, redisdb.Key(other.id)).Err())
		open, longest, err = s.store.Standing(ctx)
		require.NoError(s, err)
		require.Equal(s, 1, open)
		require.Zero(s, longest, "one without an end has just been changed by another service")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err = s.store.Standing(ended)
		require.ErrorIs(s, err, project.ErrUnavailable)
	})
}
