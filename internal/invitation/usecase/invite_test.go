package usecase_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"testing"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

// buffer is a report in memory.
type buffer struct{ *bytes.Buffer }

func (buffer) Seek(int64, int) (int64, error) { return 0, nil }

func (b buffer) Truncate(size int64) error {
	b.Buffer.Truncate(int(size))
	return nil
}

// unread is a report that nobody reads.
type unread struct{}

func (unread) Read([]byte) (int, error)       { return 0, io.EOF }
func (unread) Write(p []byte) (int, error)    { return len(p), nil }
func (unread) Seek(int64, int) (int64, error) { return 0, nil }
func (unread) Truncate(int64) error           { return nil }

type rejection struct {
	Line    int    `json:"line"`
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

func readReport(t *testing.T, r io.Reader) []rejection {
	t.Helper()
	unzipped, err := gzip.NewReader(r)
	require.NoError(t, err)
	rejected := []rejection{}
	require.NoError(t, json.NewDecoder(unzipped).Decode(&rejected))
	return rejected
}

// hangUp is a Transactor whose client has gone once the commit is done.
type hangUp struct {
	fakeTx
	cancel context.CancelFunc
}

func (tx *hangUp) WithinTxRetry(ctx context.Context, fn func(context.Context) error) error {
	defer tx.cancel()
	return tx.fakeTx.WithinTxRetry(ctx, fn)
}

func TestInvite(t *testing.T) {
	t.Parallel()
	upload := invitation.Upload{Addresses: lines{"an@example.com"}, IdempotencyKey: "key", Digest: []byte{1}, Locale: "vi", Rejected: unread{}}

	t.Run("writes everything in one transaction, behind the pace's lock", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		report := buffer{&bytes.Buffer{}}
		var id string
		due := now.Add(gap)
		gomock.InOrder(
			f.progress.EXPECT().Begin(outside, gomock.Any(), adminID).Do(func(_ context.Context, i, _ string) { id = i }),
			f.batches.EXPECT().Create(inside, gomock.Any()).DoAndReturn(func(_ context.Context, b invitation.Batch) (bool, error) {
				require.Equal(t, invitation.Batch{ID: id, AdminID: adminID, Locale: "vi", CreatedAt: now, LastDueAt: now}, b)
				return true, nil
			}),
			f.pace.EXPECT().Lock(inside, now).Return(due, nil),
			f.accounts.EXPECT().CreateInvited(inside, []string{"an@example.com", "there@example.com", "binh@example.com"}, "vi", now).
				Return(map[string]string{"an@example.com": "an", "binh@example.com": "binh"}, nil),
			f.invitations.EXPECT().Create(inside, gomock.Any()).Do(func(_ context.Context, all []invitation.Invitation) {
				require.Len(t, all, 2)
				require.Equal(t, "an", all[0].UserID)
				require.Equal(t, due.Add(invitation.Lifetime), all[0].ExpiresAt)
				require.Equal(t, "binh", all[1].UserID)
				require.Equal(t, due.Add(gap+invitation.Lifetime), all[1].ExpiresAt)
			}),
			f.batches.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, b invitation.Batch) {
				require.Equal(t, int64(2), b.Total)
				require.Equal(t, due.Add(gap), b.LastDueAt)
				require.Zero(t, b.CompletedAt)
			}),
			f.pace.EXPECT().Save(inside, due.Add(2*gap)),
			f.progress.EXPECT().Open(outside, gomock.Any(), adminID, int64(2)),
		)
		receipt, err := f.Invite(context.Background(), actor, invitation.Upload{
			Addresses: lines{"An@example.com", "there@example.com", "?", "binh@example.com", "an@EXAMPLE.com"},
			Locale:    "vi",
			Rejected:  report,
		})
		require.NoError(t, err)
		require.Equal(t, invitation.Receipt{BatchID: id, Accepted: 2}, receipt)
		require.ElementsMatch(t, []rejection{
			{2, "there@example.com", "exists"}, {3, "?", "invalid"}, {5, "an@EXAMPLE.com", "duplicate"},
		}, readReport(t, report))
		f.longTx.requireTx(t, 1, 0)

		events := f.events.Events()
		require.Len(t, events, 2)
		require.Equal(t, event.InvitationRequested, events[0].Key)
		require.Equal(t, []string{id, id}, []string{events[0].ProjectID, events[0].Batch})
		require.Equal(t, due, events[0].NotBefore)
		require.Equal(t, due.Add(gap), events[1].NotBefore)
		data := events[0].Data.(event.InvitationMail)
		_, err = tokenKey.Digests(data.Token)
		require.NoError(t, err)
		data.Token = ""
		require.Equal(t, event.InvitationMail{
			UserID: "an", Recipient: "an@example.com", Locale: "vi", ExpiresAt: due.Add(invitation.Lifetime),
		}, data)
	})

	t.Run("forgets the project when nothing is committed", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.progress.EXPECT().Begin(outside, gomock.Any(), adminID)
		f.progress.EXPECT().Forget(outside, gomock.Any())
		f.batches.EXPECT().Create(inside, gomock.Any()).Return(true, nil)
		f.pace.EXPECT().Lock(inside, now).Return(now, errBroken)
		_, err := f.Invite(context.Background(), actor, invitation.Upload{Addresses: lines{"an@example.com"}, Rejected: buffer{&bytes.Buffer{}}})
		require.ErrorIs(t, err, errBroken)
		f.longTx.requireTx(t, 0, 1)
	})

	t.Run("refuses a key that belongs to another upload", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.progress.EXPECT().Begin(outside, gomock.Any(), adminID)
		f.progress.EXPECT().Forget(outside, gomock.Any())
		f.batches.EXPECT().Create(inside, gomock.Any()).Return(false, nil)
		f.batches.EXPECT().ByKey(inside, adminID, "key").Return(invitation.Batch{RequestDigest: []byte{2}}, nil)
		_, err := f.Invite(context.Background(), actor, upload)
		require.ErrorIs(t, err, invitation.ErrKeyReused)
	})

	// The commit is done, and progress follows it whether the client still waits or not.
	t.Run("opens the project although the client has gone and Redis is unavailable", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		f := newFixture(t, func(d *usecase.Deps) { d.LongTx = &hangUp{cancel: cancel} })
		var begun string
		f.progress.EXPECT().Begin(outside, gomock.Any(), adminID).Do(func(_ context.Context, id, _ string) { begun = id })
		f.progress.EXPECT().Forget(outside, gomock.Any()).Do(func(_ context.Context, id string) { require.Equal(t, begun, id) })
		f.batches.EXPECT().Create(inside, gomock.Any()).Return(false, nil)
		f.batches.EXPECT().ByKey(inside, adminID, "key").
			Return(invitation.Batch{ID: batchID, AdminID: adminID, RequestDigest: []byte{1}, Total: 3}, nil)
		f.batches.EXPECT().Report(outside, batchID, 0).Return(nil, nil)
		f.progress.EXPECT().Open(outside, batchID, adminID, int64(3)).DoAndReturn(
			func(ctx context.Context, _, _ string, _ int64) error {
				require.NoError(t, ctx.Err())
				_, bounded := ctx.Deadline()
				require.True(t, bounded)
				return errBroken
			})
		_, err := f.Invite(ctx, actor, upload)
		require.NoError(t, err)
		require.Error(t, ctx.Err())
	})

	t.Run("waits for another upload without a connection", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.progress.EXPECT().Begin(outside, gomock.Any(), adminID)
		f.progress.EXPECT().Forget(outside, gomock.Any())
		writing, finish := make(chan struct{}), make(chan struct{})
		f.batches.EXPECT().Create(inside, gomock.Any()).DoAndReturn(func(context.Context, invitation.Batch) (bool, error) {
			close(writing)
			<-finish
			return false, errBroken
		})
		ended := make(chan error, 1)
		go func() {
			_, err := f.Invite(context.Background(), actor, upload)
			ended <- err
		}()
		<-writing
		ctx, hangUp := context.WithCancel(context.Background())
		hangUp()
		_, err := f.Invite(ctx, actor, upload)
		require.ErrorIs(t, err, context.Canceled, "and no second transaction was begun")
		close(finish)
		require.ErrorIs(t, <-ended, errBroken)
	})
}
