package invitation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	t.Run("has a project's id", func(t *testing.T) {
		t.Parallel()
		id, ok := strings.CutPrefix(invitation.NewBatchID(), "proj_")
		require.True(t, ok)
		require.Equal(t, uuid.Version(7), uuid.MustParse(id).Version())
	})
	t.Run("belongs to one upload", func(t *testing.T) {
		t.Parallel()
		b := invitation.Batch{RequestDigest: []byte{1}}
		require.NoError(t, b.CheckDigest([]byte{1}))
		require.ErrorIs(t, b.CheckDigest([]byte{2}), invitation.ErrKeyReused)
	})
	t.Run("is cancelled once", func(t *testing.T) {
		t.Parallel()
		b := invitation.Batch{LastDueAt: created.Add(time.Hour)}
		for _, after := range []time.Duration{0, time.Minute} {
			b.Cancel(created.Add(after))
			require.Equal(t, created, b.CancelledAt)
			require.Equal(t, created, b.LastDueAt, "nothing will leave any more")
		}
	})
	t.Run("is completed once", func(t *testing.T) {
		t.Parallel()
		b := invitation.Batch{}
		require.True(t, b.Complete(created))
		require.False(t, b.Complete(created.Add(time.Minute)))
		require.Equal(t, created, b.CompletedAt)
	})
}

func TestBatchMarksDue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		batch invitation.Batch
		after time.Duration
		want  bool
	}{
		"mails are still leaving":     {invitation.Batch{LastDueAt: created.Add(time.Hour)}, time.Minute, false},
		"the last has just left":      {invitation.Batch{LastDueAt: created}, 2 * time.Minute, false},
		"all have left":               {invitation.Batch{LastDueAt: created}, 2*time.Minute + 1, true},
		"counted a minute ago":        {invitation.Batch{LastDueAt: created, MarkedAt: created.Add(9 * time.Minute)}, 10 * time.Minute, false},
		"counted two minutes ago":     {invitation.Batch{LastDueAt: created, MarkedAt: created.Add(8 * time.Minute)}, 10 * time.Minute, true},
		"cancelled":                   {invitation.Batch{LastDueAt: created, CancelledAt: created}, 0, true},
		"cancelled and counted since": {invitation.Batch{CancelledAt: created, MarkedAt: created}, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.batch.MarksDue(created.Add(tc.after)))
		})
	}
}
