package database_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/database"
)

func TestExec(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	t.Run("returns how many rows it changed", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			n, err := db.Exec(ctx, "storing", "INSERT INTO things (name) VALUES ($1), ($2)", "a", "b")
			require.NoError(t, err)
			require.Equal(t, int64(2), n)
			n, err = db.Exec(ctx, "deleting", "DELETE FROM things WHERE name = $1", "c")
			require.NoError(t, err)
			require.Zero(t, n)
			_, err = db.Exec(ctx, "reading nothing", "DELETE FROM nothing")
			require.ErrorContains(t, err, "reading nothing: ")
		})
	})
	t.Run("needs a transaction as ExecTx, and is part of it", func(t *testing.T) {
		t.Parallel()
		each(t, database.Options{}, func(t *testing.T, db *database.DB) {
			store := func(ctx context.Context) error {
				_, err := db.ExecTx(ctx, "storing", "INSERT INTO things (name) VALUES ($1)", "a")
				return err
			}
			require.ErrorIs(t, store(ctx), database.ErrNoTx)
			require.ErrorIs(t, db.WithinTx(ctx, func(ctx context.Context) error {
				require.NoError(t, store(ctx))
				return errRefused
			}), errRefused)
			require.Empty(t, names(t, db))
			require.NoError(t, db.WithinTx(ctx, store))
			require.Equal(t, []string{"a"}, names(t, db))
		})
	})
}

func TestAll(t *testing.T) {
	t.Parallel()
	each(t, database.Options{}, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		exec(t, db, "INSERT INTO things (name) VALUES ('a'), ('b'), ('c')")
		args, in := database.In([]string{"b", "c"}, "c")
		texts, err := database.All(ctx, db, "reading", database.Text,
			"SELECT name FROM things WHERE name <> $1 AND name IN ("+in+")", args...)
		require.NoError(t, err)
		require.Equal(t, []string{"b"}, texts)

		_, err = database.All(ctx, db, "reading", func(database.Row) (int, error) { return 0, errRefused },
			"SELECT name FROM things")
		require.ErrorIs(t, err, errRefused)
		_, err = database.All(ctx, db, "reading nothing", database.Text, "SELECT name FROM nothing")
		require.ErrorContains(t, err, "reading nothing: ")
		require.Len(t, names(t, db), 3, "the rows are closed: SQLite has one connection")
	})
}

func TestWrapRow(t *testing.T) {
	t.Parallel()
	each(t, database.Options{}, func(t *testing.T, db *database.DB) {
		var name string
		err := db.Conn(context.Background()).QueryRowContext(context.Background(), "SELECT name FROM things").Scan(&name)
		require.ErrorIs(t, database.WrapRow("reading", err, errRefused), errRefused)
		require.NoError(t, database.WrapRow("reading", err, nil))
	})
	broken := errors.New("broken")
	require.EqualError(t, database.WrapRow("reading", broken, errRefused), "reading: broken")
	require.NoError(t, database.WrapRow("reading", nil, errRefused))
}

func TestTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 16, 30, 0, 123456789, time.FixedZone("ICT", 7*60*60))
	want := time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)
	require.Equal(t, want, database.Truncate(at))
	require.False(t, database.NullTime(time.Time{}).Valid)
	require.Equal(t, want, database.NullTime(at).Time)

	got := at
	require.NoError(t, database.UTC(&got).Scan(at))
	require.Equal(t, at.UTC(), got)
	require.NoError(t, database.UTC(&got).Scan(nil))
	require.Equal(t, time.Time{}, got)
	require.Error(t, database.UTC(&got).Scan("no time"))
}

func TestFillTimes(t *testing.T) {
	t.Parallel()
	one, two, epoch := time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC), time.Date(2025, 3, 2, 8, 0, 0, 0, time.UTC), time.Unix(0, 0).UTC()
	for name, tc := range map[string]struct{ times, want [3]time.Time }{
		"all known":      {[3]time.Time{one, two, one}, [3]time.Time{one, two, one}},
		"the first only": {[3]time.Time{one, {}, {}}, [3]time.Time{one, one, one}},
		"the last two":   {[3]time.Time{{}, two, one}, [3]time.Time{two, two, one}},
		"the last only":  {[3]time.Time{{}, {}, two}, [3]time.Time{two, two, two}},
		"none":           {[3]time.Time{}, [3]time.Time{epoch, epoch, epoch}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database.FillTimes(&tc.times[0], &tc.times[1], &tc.times[2])
			require.Equal(t, tc.want, tc.times)
		})
	}
}

func TestUUID(t *testing.T) {
	t.Parallel()
	id := uuid.MustParse("019C1000-0000-7000-8000-00000000000A")
	require.Equal(t, "019c1000-0000-7000-8000-00000000000a", database.UUID("019C1000-0000-7000-8000-00000000000A"))
	require.Equal(t, id.String(), database.UUID(id.String()))
	for _, bad := range []string{"", "no uuid", "019c1000-0000-7000-8000-00000000000g", "\x00"} {
		require.Equal(t, uuid.Nil.String(), database.UUID(bad), bad)
	}
}
