package sqldb_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func TestList(t *testing.T) {
	onDatabase(func(s suite) {
		admin := s.createUser("admin@example.com")
		open := s.createBatch(admin, nil)
		completed := s.createBatch(admin, nil)
		cancelled := s.createBatch(admin, nil)
		completed.CompletedAt, cancelled.CancelledAt = now, now.Add(time.Second)
		s.within(func(ctx context.Context) error {
			return errors.Join(s.batches.Save(ctx, completed), s.batches.Save(ctx, cancelled))
		})
		list := func(state, after string, limit int) (ids []string) {
			all, err := s.batches.List(s.Context(), state, after, limit)
			require.NoError(s, err)
			for _, b := range all {
				ids = append(ids, b.ID)
			}
			return ids
		}
		require.Equal(s, []string{cancelled.ID, completed.ID, open.ID}, list("", "", 10))
		require.Equal(s, []string{cancelled.ID, completed.ID}, list("", "", 2))
		require.Equal(s, []string{open.ID}, list("", completed.ID, 2))
		require.Equal(s, []string{open.ID}, list("open", "", 10))
		require.Equal(s, []string{completed.ID}, list("completed", "", 10))
		require.Equal(s, []string{cancelled.ID}, list("cancelled", "", 10))
		require.Empty(s, list("another", "", 10))
		found, err := s.batches.ByID(s.Context(), open.ID)
		require.NoError(s, err)
		require.Equal(s, open.ID, found.ID)
		_, err = s.batches.ByID(s.Context(), "proj_\x00")
		require.ErrorIs(s, err, invitation.ErrBatchNotFound)
	})(t)
}
