package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/audit/audittest"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/mock"
	"github.com/smap-platform/identity/internal/authentication/usecase"
)

type erasing struct {
	users   *mock.MockErasureRepository
	limits  *mock.MockLimitEraser
	rows    *mock.MockDataEraser
	states  *mock.MockDataEraser
	audit   *audittest.Recorder
	failed  []string
	erase   func(then time.Time) (int64, error)
	deleted time.Time
}

func newErasing(t *testing.T) *erasing {
	t.Helper()
	ctrl := gomock.NewController(t)
	e := &erasing{
		users: mock.NewMockErasureRepository(ctrl), limits: mock.NewMockLimitEraser(ctrl), rows: mock.NewMockDataEraser(ctrl),
		states: mock.NewMockDataEraser(ctrl), audit: &audittest.Recorder{}, deleted: start.Add(-time.Hour),
	}
	eraser := usecase.NewEraser(usecase.EraserDeps{
		Tx: &fakeTx{}, Users: e.users, Limits: e.limits, CodeKeys: authentication.CodeKeys{[]byte("new"), []byte("old")},
		Rows: []authentication.DataEraser{e.rows}, States: []authentication.DataEraser{e.states}, Audit: e.audit,
		Clock:  &fakeClock{start},
		Failed: func(_ context.Context, id string, _ error) { e.failed = append(e.failed, id) },
	})
	e.erase = func(then time.Time) (int64, error) { return eraser.Erase(context.Background(), then) }
	return e
}

// due makes so many users due, and returns them.
func (e *erasing) due(n int) []authentication.DeletedUser {
	users := make([]authentication.DeletedUser, n)
	for i := range users {
		users[i] = authentication.DeletedUser{ID: fmt.Sprintf("user %d", i), Email: fmt.Sprintf("u%d@example.com", i), DeletedAt: e.deleted}
	}
	e.users.EXPECT().Due(gomock.Any(), e.deleted, authentication.DeletedUser{}, gomock.Any()).Return(users, nil)
	e.users.EXPECT().Due(gomock.Any(), e.deleted, users[n-1], gomock.Any()).Return(nil, nil).MaxTimes(1)
	return users
}

// empties expects that the rows of a user are erased, and returns the expectation of the last step.
func (e *erasing) empties(u authentication.DeletedUser, last error) {
	until := u
	if until.Until.IsZero() {
		until.Until = start.Add(-time.Minute)
	}
	keys := authentication.CodeKeys{[]byte("new"), []byte("old")}
	gomock.InOrder(
		e.users.EXPECT().LockDue(inside, u.ID).Return(u, true, nil),
		e.limits.EXPECT().Erase(inside, keys.LimitDigests(u.Email), until.Until),
		e.rows.EXPECT().EraseUser(inside, until),
		e.users.EXPECT().Erase(inside, until).Return(last),
	)
}

func TestErase(t *testing.T) {
	t.Parallel()
	t.Run("empties the rows, then the states, and marks the user last", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		u := e.due(1)[0]
		e.empties(u, nil)
		gomock.InOrder(
			e.states.EXPECT().EraseUser(outside, u),
			e.users.EXPECT().MarkErased(inside, u.ID, start).Return(true, nil),
		)
		erased, err := e.erase(e.deleted)
		require.NoError(t, err)
		require.Equal(t, int64(1), erased)
		require.Equal(t, []audit.Entry{{Action: audit.UserErased, UserID: u.ID}}, e.audit.Entries())
	})
	t.Run("leaves what has come since another has the address", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		u := e.due(1)[0]
		locked := u
		locked.Until = e.deleted.Add(time.Minute)
		e.empties(locked, nil)
		e.states.EXPECT().EraseUser(outside, u)
		e.users.EXPECT().MarkErased(inside, u.ID, start).Return(true, nil)
		_, err := e.erase(e.deleted)
		require.NoError(t, err)
	})
	t.Run("erases nobody within a minute", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		e.users.EXPECT().Due(gomock.Any(), start.Add(-time.Minute), gomock.Any(), gomock.Any()).Return(nil, nil)
		_, err := e.erase(start)
		require.NoError(t, err)
	})
	t.Run("goes on where another call was cut off", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		u := e.due(1)[0]
		emptied := u
		emptied.Email, emptied.Emptied = u.ID, true
		e.users.EXPECT().LockDue(inside, u.ID).Return(emptied, true, nil)
		e.states.EXPECT().EraseUser(outside, u)
		e.users.EXPECT().MarkErased(inside, u.ID, start).Return(true, nil)
		erased, err := e.erase(e.deleted)
		require.NoError(t, err)
		require.Equal(t, int64(1), erased)
	})
	t.Run("leaves a user to the process that is at it", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		u := e.due(1)[0]
		e.users.EXPECT().LockDue(inside, u.ID).Return(authentication.DeletedUser{}, false, nil)
		erased, err := e.erase(e.deleted)
		require.NoError(t, err)
		require.Zero(t, erased)
	})
	t.Run("records a user once", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		u := e.due(1)[0]
		e.empties(u, nil)
		e.states.EXPECT().EraseUser(outside, u)
		e.users.EXPECT().MarkErased(inside, u.ID, start).Return(false, nil)
		erased, err := e.erase(e.deleted)
		require.NoError(t, err)
		require.Zero(t, erased)
		require.Empty(t, e.audit.Entries())
	})
	t.Run("goes on after one that fails", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		users := e.due(3)
		e.empties(users[0], errBroken)
		e.empties(users[1], nil)
		e.states.EXPECT().EraseUser(outside, users[1]).Return(errBroken)
		e.empties(users[2], nil)
		e.states.EXPECT().EraseUser(outside, users[2])
		e.users.EXPECT().MarkErased(inside, users[2].ID, start).Return(true, nil)
		erased, err := e.erase(e.deleted)
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "user 0")
		require.ErrorContains(t, err, "user 1")
		require.Equal(t, int64(1), erased)
		require.Equal(t, []string{"user 0", "user 1"}, e.failed)
	})
	t.Run("empties the rows of all while the states are unavailable", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		for _, u := range e.due(12) {
			e.empties(u, nil)
		}
		e.states.EXPECT().EraseUser(outside, gomock.Any()).Return(errBroken).Times(10)
		erased, err := e.erase(e.deleted)
		require.ErrorIs(t, err, errBroken)
		require.Zero(t, erased)
	})
	t.Run("gives up while the database is unavailable", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		e.due(12)
		e.users.EXPECT().LockDue(inside, gomock.Any()).Return(authentication.DeletedUser{}, false, errBroken).Times(10)
		_, err := e.erase(e.deleted)
		require.ErrorContains(t, err, "the other users were not tried")
	})
	t.Run("returns that nobody can be looked up", func(t *testing.T) {
		t.Parallel()
		e := newErasing(t)
		e.users.EXPECT().Due(gomock.Any(), gomock.Any(), gomock.Any(), gomock.Any()).Return(nil, errors.New("no table"))
		_, err := e.erase(e.deleted)
		require.ErrorContains(t, err, "no table")
	})
}
