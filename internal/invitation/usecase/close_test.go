package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/mock"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

func TestClose(t *testing.T) {
	t.Parallel()
	done := invitation.Completion{ProjectID: batchID, Total: 3, Done: 3, Errors: 1, CompletedAt: now}
	open := invitation.Batch{ID: batchID, AdminID: adminID, Locale: "vi"}
	closed := open
	closed.CompletedAt = now
	earlier := open
	earlier.CompletedAt = now.Add(-time.Minute)
	for name, tc := range map[string]struct {
		batch   invitation.Batch
		lock    error
		saved   bool
		save    error
		found   bool
		find    error
		mailed  bool
		publish error
		want    error
	}{
		"closes a batch and mails its administrator":    {batch: open, saved: true, found: true, mailed: true},
		"ignores a project that is no batch":            {lock: invitation.ErrBatchNotFound},
		"ignores a batch that was closed before":        {batch: earlier},
		"closes a batch whose administrator is gone":    {batch: open, saved: true, found: true, find: invitation.ErrAccountNotFound},
		"returns an error of the lock":                  {lock: errBroken, want: errBroken},
		"returns an error of saving":                    {batch: open, saved: true, save: errBroken, want: errBroken},
		"returns an error of finding the administrator": {batch: open, saved: true, found: true, find: errBroken, want: errBroken},
		"returns an error of publishing":                {batch: open, saved: true, found: true, publish: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctrl := gomock.NewController(t)
			batches, accounts, events := mock.NewMockBatchLocker(ctrl), mock.NewMockAccountFinder(ctrl), &txRecorder{}
			events.Err = tc.publish
			batches.EXPECT().Lock(inside, batchID).Return(tc.batch, tc.lock)
			if tc.saved {
				batches.EXPECT().Save(inside, closed).Return(tc.save)
			}
			if tc.found {
				accounts.EXPECT().Account(inside, adminID).Return(invitation.Account{Email: "admin@example.com"}, tc.find)
			}
			closer := usecase.NewCloser(usecase.CloserDeps{Batches: batches, Accounts: accounts, Events: events})
			err := (&fakeTx{}).WithinTxRetry(context.Background(), func(ctx context.Context) error {
				return closer.Close(ctx, done)
			})
			require.ErrorIs(t, err, tc.want)
			if !tc.mailed {
				require.Empty(t, events.Events())
				return
			}
			e := events.Events()[0]
			require.Equal(t, event.Event{
				ID: e.ID, Key: event.EmailProjectCompletedRequested, Time: now, ProjectID: batchID,
				Data: event.ProjectCompletedMail{
					Recipient: "admin@example.com", Locale: "vi", ProjectID: batchID, Total: 3, Done: 3, Errors: 1,
				},
			}, e)
		})
	}
}
