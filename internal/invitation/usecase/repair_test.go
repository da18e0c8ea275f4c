package usecase_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	"github.com/smap-platform/identity/internal/invitation/mock"
	"github.com/smap-platform/identity/internal/invitation/usecase"
)

// repairFixture is a Repairer with everything mocked.
type repairFixture struct {
	*usecase.Repairer
	batches     *mock.MockOpenBatchRepository
	invitations *mock.MockPager
	mails       *mock.MockMailLedger
	progress    *mock.MockProgress
	reports     chan report
}

// report is a call of Failed.
type report struct {
	batch string
	again bool
	err   error
}

func newRepairFixture(t *testing.T) *repairFixture {
	t.Helper()
	ctrl := gomock.NewController(t)
	f := &repairFixture{
		batches:     mock.NewMockOpenBatchRepository(ctrl),
		invitations: mock.NewMockPager(ctrl),
		mails:       mock.NewMockMailLedger(ctrl),
		progress:    mock.NewMockProgress(ctrl),
		reports:     make(chan report, 20),
	}
	f.Repairer = usecase.NewRepairer(usecase.RepairerDeps{
		Batches:     f.batches,
		Invitations: f.invitations,
		Mails:       f.mails,
		Progress:    f.progress,
		Clock:       &clock{now},
		Every:       time.Millisecond,
		Failed:      func(batch string, again bool, err error) { f.reports <- report{batch, again, err} },
	})
	return f
}

// rebuilds expects one batch of two invitations, the first of which was sent, to be counted again.
func (f *repairFixture) rebuilds(b invitation.Batch) {
	page := []invitation.Invitation{
		newInvitation(nil), newInvitation(func(i *invitation.Invitation) { i.ID, i.EventID = "j", "evt_2" }),
	}
	gomock.InOrder(
		f.progress.EXPECT().Open(outside, b.ID, b.AdminID, b.Total),
		f.invitations.EXPECT().Page(outside, b.ID, "", invitation.MaxItems).Return(page, nil),
		f.mails.EXPECT().Outcomes(outside, []string{"evt_1", "evt_2"}).Return(map[string]bool{"evt_1": true}, nil),
		f.progress.EXPECT().Mark(outside, b.ID, []invitation.Item{{ID: "evt_1"}}),
		f.invitations.EXPECT().Page(outside, b.ID, "j", invitation.MaxItems),
		f.batches.EXPECT().Marked(outside, b.ID, now),
	)
}

func TestRepair(t *testing.T) {
	t.Parallel()
	due := invitation.Batch{ID: batchID, AdminID: adminID, Total: 2, LastDueAt: now.Add(-time.Hour)}
	fresh := due
	fresh.LastDueAt = now
	for name, tc := range map[string]struct {
		batch        invitation.Batch
		found, final bool
		err          error
		repaired     int
		want         error
	}{
		"opens and counts a project that is missing":     {batch: fresh, repaired: 1},
		"counts again when all mails should have left":   {batch: due, found: true, repaired: 1},
		"leaves a project alone whose mails are leaving": {batch: fresh, found: true},
		"leaves a final project alone":                   {batch: due, found: true, final: true},
		"returns an error of progress":                   {batch: due, err: errBroken, want: errBroken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newRepairFixture(t)
			f.batches.EXPECT().ClaimOpen(outside, now, gomock.Any(), gomock.Any()).Return([]invitation.Batch{tc.batch}, nil)
			f.progress.EXPECT().State(outside, batchID).Return(tc.found, tc.final, tc.err)
			if tc.repaired > 0 {
				f.rebuilds(tc.batch)
			}
			n, err := f.Repair(context.Background())
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.repaired, n)
		})
	}
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	b := invitation.Batch{ID: batchID, AdminID: adminID, Total: 2}
	since := now.Add(-7 * 24 * time.Hour)
	t.Run("rebuilds page by page", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		f.batches.EXPECT().DueSince(outside, since, "", gomock.Any()).Return([]invitation.Batch{b}, nil)
		f.rebuilds(b)
		f.batches.EXPECT().DueSince(outside, since, batchID, gomock.Any())
		done, err := f.Rebuild(context.Background())
		require.NoError(t, err)
		require.Equal(t, usecase.Rebuilt{Batches: 1, Items: 1}, done)
	})
	t.Run("returns what it did before an error", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		f.batches.EXPECT().DueSince(outside, since, "", gomock.Any()).Return([]invitation.Batch{b}, nil)
		f.rebuilds(b)
		f.batches.EXPECT().DueSince(outside, since, batchID, gomock.Any()).Return(nil, errBroken)
		done, err := f.Rebuild(context.Background())
		require.ErrorIs(t, err, errBroken)
		require.Equal(t, usecase.Rebuilt{Batches: 1, Items: 1}, done)
	})
}

func TestRepairerRun(t *testing.T) {
	t.Parallel()
	t.Run("survives outages and reports them", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		results := make(chan error) // unbuffered: each call of Repair takes what it shall return
		f.batches.EXPECT().ClaimOpen(gomock.Any(), now, gomock.Any(), gomock.Any()).DoAndReturn(
			func(ctx context.Context, _ time.Time, _ time.Duration, _ int) ([]invitation.Batch, error) {
				select {
				case err := <-results:
					return nil, err
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}).AnyTimes()
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		second := errors.New("the second outage")
		for _, result := range []error{nil, errBroken, errBroken, nil, second, nil} {
			results <- result
		}
		stop()
		require.NoError(t, <-ended)
		require.Equal(t, []report{{"", false, errBroken}, {"", true, errBroken}, {"", false, second}}, f.reported(),
			"a stop is no outage")
	})
}

// reported returns every call of Failed. None may follow.
func (f *repairFixture) reported() (all []report) {
	close(f.reports)
	for r := range f.reports {
		all = append(all, r)
	}
	return all
}

func TestBadBatch(t *testing.T) {
	t.Parallel()
	bad := invitation.Batch{ID: "proj_bad", AdminID: adminID, Total: 2}
	good := invitation.Batch{ID: batchID, AdminID: adminID, Total: 2}
	t.Run("repair: is passed over, and named until it is well", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		for range 2 {
			f.batches.EXPECT().ClaimOpen(outside, now, gomock.Any(), gomock.Any()).Return([]invitation.Batch{bad, good}, nil)
			f.progress.EXPECT().State(outside, "proj_bad").Return(false, false, errBroken)
			f.progress.EXPECT().State(outside, batchID)
			f.rebuilds(good)
			n, err := f.Repair(context.Background())
			require.ErrorIs(t, err, errBroken)
			require.ErrorContains(t, err, "proj_bad")
			require.Equal(t, 1, n)
		}
		f.batches.EXPECT().ClaimOpen(outside, now, gomock.Any(), gomock.Any()).Return([]invitation.Batch{bad}, nil)
		f.progress.EXPECT().State(outside, "proj_bad").Return(true, true, nil)
		_, err := f.Repair(context.Background())
		require.NoError(t, err)
		all := f.reported()
		require.Len(t, all, 2)
		for n, r := range all {
			require.Equal(t, "proj_bad", r.batch)
			require.Equal(t, n == 1, r.again)
			require.ErrorIs(t, r.err, errBroken)
		}
	})
	t.Run("rebuild: is passed over, and named at the end", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		f.batches.EXPECT().DueSince(outside, gomock.Any(), "", gomock.Any()).Return([]invitation.Batch{bad, good}, nil)
		f.progress.EXPECT().Open(outside, "proj_bad", adminID, int64(2)).Return(errBroken)
		f.rebuilds(good)
		f.batches.EXPECT().DueSince(outside, gomock.Any(), batchID, gomock.Any())
		done, err := f.Rebuild(context.Background())
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "proj_bad")
		require.Equal(t, usecase.Rebuilt{Batches: 1, Items: 1, Failed: 1}, done)
	})
	t.Run("rebuild: a hundred in a row are an outage", func(t *testing.T) {
		t.Parallel()
		f := newRepairFixture(t)
		f.batches.EXPECT().DueSince(outside, gomock.Any(), gomock.Any(), gomock.Any()).
			Return([]invitation.Batch{bad, bad}, nil).Times(50)
		f.progress.EXPECT().Open(outside, gomock.Any(), gomock.Any(), gomock.Any()).Return(errBroken).Times(100)
		done, err := f.Rebuild(context.Background())
		require.ErrorContains(t, err, "not tried")
		require.Equal(t, usecase.Rebuilt{Failed: 100}, done)
	})
}
