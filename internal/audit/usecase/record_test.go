package usecase_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/audit/usecase"
)

var start = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)

type clock struct{}

func (clock) Now() time.Time { return start }

// entries is an audit.Repository.
type entries struct {
	audit.Repository
	appended []audit.Entry
	filter   audit.Filter
	err      error
}

func (e *entries) Append(_ context.Context, entry audit.Entry) error {
	e.appended = append(e.appended, entry)
	return e.err
}

func (e *entries) List(_ context.Context, f audit.Filter) ([]audit.Entry, int, error) {
	e.filter = f
	return e.appended, len(e.appended), e.err
}

func TestRecord(t *testing.T) {
	t.Parallel()
	origin := audit.Origin{RequestID: "request-1", IP: "203.0.113.7", Agent: "curl", Operator: "an"}

	t.Run("fills in where it comes from", func(t *testing.T) {
		t.Parallel()
		stored := &entries{}
		r := usecase.NewRecorder(stored, clock{})
		ctx := audit.WithOrigin(context.Background(), origin)
		require.NoError(t, r.Record(ctx, audit.Entry{Action: audit.UserEnabled, UserID: "user-1"}))
		got := stored.appended[0]
		require.NotEmpty(t, got.ID)
		got.ID = ""
		require.Equal(t, audit.Entry{
			At: start, Action: audit.UserEnabled, Outcome: audit.Done, Operator: "an", UserID: "user-1", RequestID: "request-1",
			Details: audit.Details{IP: "203.0.113.7", Agent: "curl"},
		}, got)
	})

	t.Run("keeps what the use case says", func(t *testing.T) {
		t.Parallel()
		stored := &entries{}
		e := audit.Entry{
			ID: "id", At: start, Action: audit.TokenReused, Outcome: audit.Refused, ActorID: "user-2", Operator: "binh", UserID: "user-1",
			RequestID: "request-2", Details: audit.Details{Address: "an@example.com", IP: "::1", Agent: "wget", Reason: "why"},
		}
		require.NoError(t, usecase.NewRecorder(stored, clock{}).Record(audit.WithOrigin(context.Background(), origin), e))
		require.Equal(t, []audit.Entry{e}, stored.appended)
	})

	t.Run("stores what a terminal can print", func(t *testing.T) {
		t.Parallel()
		stored := &entries{}
		ctx := audit.WithOrigin(context.Background(), audit.Origin{Agent: "a\x00b\x1b[31m\n\u202ec\xff" + strings.Repeat("ắ", 600)})
		require.NoError(t, usecase.NewRecorder(stored, clock{}).Record(ctx, audit.Entry{}))
		require.Equal(t, "ab[31m c"+strings.Repeat("ắ", 492), stored.appended[0].Agent)
	})

	t.Run("fails what it records", func(t *testing.T) {
		t.Parallel()
		broken := errors.New("broken")
		require.ErrorIs(t, usecase.NewRecorder(&entries{err: broken}, clock{}).Record(context.Background(), audit.Entry{}), broken)
	})
}

func TestList(t *testing.T) {
	t.Parallel()
	stored := &entries{appended: []audit.Entry{{ID: "id"}}}
	r := usecase.NewReader(stored)
	_, _, err := r.List(context.Background(), false, audit.Filter{})
	require.ErrorIs(t, err, audit.ErrForbidden)
	got, total, err := r.List(context.Background(), true, audit.Filter{UserID: "user-1"})
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, stored.appended, got)
	require.Equal(t, audit.Filter{UserID: "user-1"}, stored.filter)
}
