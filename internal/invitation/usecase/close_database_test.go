package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
)

func TestCloseOnDatabase(t *testing.T) {
	t.Parallel()

	t.Run("mails the administrator once", onDatabase(func(f flow) {
		batch := f.invite("an@example.com", "binh@example.com", "chi@example.com")
		f.clock.now = now.Add(time.Minute)
		f.exec("UPDATE users SET username = 'moved@example.com' WHERE id = $1", f.admin.ID)
		refused := errors.New("refused")
		require.ErrorIs(f, f.db.WithinTx(context.Background(), func(ctx context.Context) error {
			require.NoError(f, f.closer.Close(ctx, invitation.Completion{ProjectID: batch, CompletedAt: f.clock.now}))
			return refused
		}), refused)
		require.Zero(f, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)), "all of it or nothing")

		require.NoError(f, f.complete(batch))
		require.NoError(f, f.complete(batch), "a second time")
		require.NoError(f, f.complete(invitation.NewBatchID()), "another project")
		require.NoError(f, f.complete("any id \U0001F600"))
		require.Equal(f, 1, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)))
		all := f.events.Events()
		told := all[len(all)-1]
		require.Equal(f, event.Event{
			ID: told.ID, Key: event.EmailProjectCompletedRequested, Time: f.clock.now, ProjectID: batch,
			Data: event.ProjectCompletedMail{
				Recipient: "moved@example.com", Locale: "vi", ProjectID: batch, Total: 3, Done: 3, Errors: 1,
			},
		}, told)
		require.Equal(f, 1, f.rows("invitation_batches WHERE completed_at = $1", f.clock.now))

		orphan := f.invite("dung@example.com")
		f.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", f.admin.ID, now)
		require.NoError(f, f.complete(orphan), "nobody is left to be told")
		require.Equal(f, 1, f.rows("outbox WHERE routing_key = $1", string(event.EmailProjectCompletedRequested)))
	}))
}
