package usecase_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/operations/mock"
	"github.com/smap-platform/identity/internal/operations/usecase"
)

const queue = "identity.email"

var (
	now     = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	errDown = errors.New("the database is down")
	paused  = operations.LanePause{Queue: queue, By: "an", Reason: "the server moves", Since: now}
)

type inTx struct{}

// inATx matches the context of a transaction.
func inATx() gomock.Matcher { return txMatcher{} }

type txMatcher struct{}

func (txMatcher) Matches(x any) bool {
	ctx, ok := x.(context.Context)
	return ok && ctx.Value(inTx{}) != nil
}

func (txMatcher) String() string { return "is in a transaction" }

type fixture struct {
	*usecase.Lanes
	pauses   *mock.MockLanePauses
	recorded audittest.Recorder
}

func newFixture(t *testing.T) *fixture {
	ctrl := gomock.NewController(t)
	f := &fixture{pauses: mock.NewMockLanePauses(ctrl)}
	tx, clock := mock.NewMockTransactor(ctrl), mock.NewMockClock(ctrl)
	tx.EXPECT().WithinTxRetry(gomock.Any(), gomock.Any()).AnyTimes().DoAndReturn(
		func(ctx context.Context, fn func(context.Context) error) error {
			return fn(context.WithValue(ctx, inTx{}, true))
		})
	clock.EXPECT().Now().Return(now).AnyTimes()
	f.Lanes = usecase.NewLanes(usecase.LanesDeps{
		Tx: tx, Pauses: f.pauses, Audit: &f.recorded, Clock: clock, Names: []string{queue, "identity.invitation"},
	})
	return f
}

func as(t *testing.T, operator string) context.Context {
	return audit.WithOrigin(t.Context(), audit.Origin{Operator: operator})
}

func TestPause(t *testing.T) {
	t.Parallel()
	t.Run("stores who, why and since when, and records it in the same transaction", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.pauses.EXPECT().Add(inATx(), paused).Return(true, nil)
		got, err := f.Pause(as(t, " an "), queue, " the server moves\n")
		require.NoError(t, err)
		require.Equal(t, paused, got)
		require.Equal(t, []audit.Entry{{
			Action: audit.LanePaused, Operator: "an", SubjectID: queue, Details: audit.Details{Reason: "the server moves"},
		}}, f.recorded.Entries())
	})
	t.Run("says by whom a lane is paused already", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.pauses.EXPECT().Add(inATx(), gomock.Any()).Return(false, nil)
		f.pauses.EXPECT().Of(inATx(), queue).Return(paused, nil)
		_, err := f.Pause(as(t, "binh"), queue, "")
		require.ErrorIs(t, err, operations.ErrPaused)
		require.ErrorContains(t, err, "by an since 2026-01-31 09:30:00")
		require.Empty(t, f.recorded.Entries())
	})
	t.Run("fails with what fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.pauses.EXPECT().Add(gomock.Any(), gomock.Any()).Return(false, errDown)
		_, err := f.Pause(as(t, "an"), queue, "")
		require.ErrorIs(t, err, errDown)

		f.pauses.EXPECT().Add(gomock.Any(), gomock.Any()).Return(false, nil)
		f.pauses.EXPECT().Of(gomock.Any(), queue).Return(operations.LanePause{}, errDown)
		_, err = f.Pause(as(t, "an"), queue, "")
		require.ErrorIs(t, err, errDown)

		f.recorded.Err = errDown
		f.pauses.EXPECT().Add(gomock.Any(), gomock.Any()).Return(true, nil)
		_, err = f.Pause(as(t, "an"), queue, "")
		require.ErrorIs(t, err, errDown)
	})
	for name, c := range map[string]struct {
		queue, by, reason string
		want              error
		says              string
	}{
		"a queue that sends no mail":   {"identity.project", "an", "", operations.ErrNoLane, "identity.email, identity.invitation"},
		"no queue":                     {"", "an", "", operations.ErrNoLane, ""},
		"nobody":                       {queue, " ", "", operations.ErrText, "who you are"},
		"a name of several lines":      {queue, "an\nroot", "", operations.ErrText, "name"},
		"a name without end":           {queue, strings.Repeat("ắ", 101), "", operations.ErrText, "100"},
		"a reason for a terminal":      {queue, "an", "\x1b[2J", operations.ErrText, "reason"},
		"a reason that turns the text": {queue, "an", "a\u202eb", operations.ErrText, "reason"},
		"a reason that is no text":     {queue, "an", "\xff", operations.ErrText, "reason"},
		"a reason without end":         {queue, "an", strings.Repeat("a", 501), operations.ErrText, "500"},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			_, err := newFixture(t).Pause(as(t, c.by), c.queue, c.reason)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	t.Run("ends the pause, and records whose it was", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.pauses.EXPECT().Remove(inATx(), queue).Return(paused, nil)
		got, err := f.Resume(as(t, "binh"), queue)
		require.NoError(t, err)
		require.Equal(t, paused, got)
		require.Equal(t, []audit.Entry{{
			Action: audit.LaneResumed, Operator: "binh", SubjectID: queue,
			Details: audit.Details{Reason: "paused by an since 2026-01-31 09:30:00"},
		}}, f.recorded.Entries())
	})
	t.Run("fails with what fails", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.pauses.EXPECT().Remove(gomock.Any(), queue).Return(operations.LanePause{}, operations.ErrNotPaused)
		_, err := f.Resume(as(t, "an"), queue)
		require.ErrorIs(t, err, operations.ErrNotPaused)
		_, err = f.Resume(as(t, ""), queue)
		require.ErrorIs(t, err, operations.ErrText)
		_, err = f.Resume(as(t, "an"), "identity.project")
		require.ErrorIs(t, err, operations.ErrNoLane)
		require.Empty(t, f.recorded.Entries())

		f.recorded.Err = errDown
		f.pauses.EXPECT().Remove(gomock.Any(), queue).Return(paused, nil)
		_, err = f.Resume(as(t, "an"), queue)
		require.ErrorIs(t, err, errDown)
	})
}

func TestPaused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.pauses.EXPECT().All(gomock.Any()).Return([]operations.LanePause{paused}, nil)
	got, err := f.Paused(t.Context())
	require.NoError(t, err)
	require.Equal(t, []operations.LanePause{paused}, got)
}
