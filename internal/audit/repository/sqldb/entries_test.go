package sqldb_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/audit/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var start = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

type suite struct {
	*testing.T
	*sqldb.Entries
	db *database.DB
}

func each(t *testing.T, test func(s *suite)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) { test(&suite{t, sqldb.NewEntries(db), db}) })
}

func (s *suite) append(entries ...audit.Entry) {
	s.Helper()
	require.NoError(s, s.db.WithinTx(s.Context(), func(ctx context.Context) error {
		for _, e := range entries {
			if err := s.Append(ctx, e); err != nil {
				return err
			}
		}
		return nil
	}))
}

func full() audit.Entry {
	return audit.Entry{
		ID: uuid.NewString(), At: start, Action: audit.UserDisabled, Outcome: audit.Done, ActorID: uuid.NewString(),
		Operator: "an", UserID: uuid.NewString(), SubjectID: "proj_1", RequestID: "request-1",
		Details: audit.Details{Address: "an@example.com", IP: "203.0.113.7", Agent: "curl", Reason: "fraud"},
	}
}

func (s *suite) list(f audit.Filter) []audit.Entry {
	s.Helper()
	if f.Limit == 0 {
		f.Limit = 100
	}
	found, total, err := s.List(s.Context(), f)
	require.NoError(s, err)
	if f.Offset == 0 && f.Limit == 100 {
		require.Len(s, found, total)
	}
	return found
}

func TestEntries(t *testing.T) {
	t.Parallel()

	t.Run("are what was appended, once", func(t *testing.T) {
		t.Parallel()
		each(t, func(s *suite) {
			bare := audit.Entry{ID: uuid.NewString(), At: start.Add(-time.Second), Action: audit.SessionsEnded, Outcome: audit.Refused}
			e := full()
			s.append(e, bare)
			s.append(e)
			require.Equal(s, []audit.Entry{e, bare}, s.list(audit.Filter{}))
			require.ErrorIs(s, s.Append(s.Context(), full()), database.ErrNoTx)
		})
	})

	t.Run("are selected", func(t *testing.T) {
		t.Parallel()
		each(t, func(s *suite) {
			first, second, third := full(), full(), full()
			second.At, second.Action = start.Add(time.Second), audit.UserEnabled
			third.At, third.UserID = start.Add(2*time.Second), first.UserID
			s.append(first, second, third)
			require.Equal(s, []audit.Entry{third, first}, s.list(audit.Filter{UserID: first.UserID}))
			require.Equal(s, []audit.Entry{second}, s.list(audit.Filter{ActorID: second.ActorID}))
			require.Equal(s, []audit.Entry{second}, s.list(audit.Filter{Action: audit.UserEnabled}))
			require.Equal(s, []audit.Entry{second}, s.list(audit.Filter{Since: second.At, Until: third.At}))
			require.Equal(s, []audit.Entry{second}, s.list(audit.Filter{Limit: 1, Offset: 1}))
			require.Empty(s, s.list(audit.Filter{UserID: first.UserID, Action: audit.UserEnabled}))
			require.Empty(s, s.list(audit.Filter{UserID: "no uuid"}))
			found, total, err := s.List(s.Context(), audit.Filter{Limit: 5, Offset: 5})
			require.NoError(s, err)
			require.Empty(s, found)
			require.Equal(s, 3, total)
		})
	})

	t.Run("lose their details, and nothing else", func(t *testing.T) {
		t.Parallel()
		each(t, func(s *suite) {
			old, young := full(), full()
			young.At = start.Add(time.Second)
			s.append(old, young)
			for want := range 2 {
				n, err := s.PurgeDetails(s.Context(), young.At)
				require.NoError(s, err)
				require.EqualValues(s, 1-want, n)
			}
			old.Details = audit.Details{}
			require.Equal(s, []audit.Entry{young, old}, s.list(audit.Filter{}))
		})
	})

	t.Run("are neither changed nor removed", func(t *testing.T) {
		t.Parallel()
		each(t, func(s *suite) {
			e := full()
			s.append(e)
			statements := []string{
				"DELETE FROM audit_entries", "UPDATE audit_entries SET address = 'another'", "UPDATE audit_entries SET reason = ''",
				"UPDATE audit_entries SET ip_address = '::1'", "UPDATE audit_entries SET user_agent = 'another'",
				"UPDATE audit_entries SET action = 'a', address = NULL", "UPDATE audit_entries SET outcome = 'refused'",
				"UPDATE audit_entries SET actor_id = NULL", "UPDATE audit_entries SET operator = NULL",
				"UPDATE audit_entries SET user_id = NULL", "UPDATE audit_entries SET subject_id = NULL",
				"UPDATE audit_entries SET request_id = NULL",
				"UPDATE audit_entries SET at = '2020-01-01 00:00:00'",
				"UPDATE audit_entries SET id = '85127bca-b50f-4bdf-9851-54dccc947b2d'",
			}
			if s.db.Dialect() == database.Postgres {
				statements = append(statements, "TRUNCATE audit_entries")
			}
			for _, statement := range statements {
				_, err := s.db.Exec(s.Context(), "changing", statement)
				require.ErrorContains(s, err, "append-only", statement)
			}
			require.Equal(s, []audit.Entry{e}, s.list(audit.Filter{}))
			_, err := s.db.Exec(s.Context(), "erasing", "UPDATE audit_entries SET address = NULL")
			require.NoError(s, err)
			_, err = s.db.Exec(s.Context(), "writing again", "UPDATE audit_entries SET address = 'an@example.com'")
			require.Error(s, err)
		})
	})
}

func TestBehind(t *testing.T) {
	t.Parallel()
	each(t, func(s *suite) {
		var want []audit.Entry
		for i := range 5 { // of which the last three have one time
			e := full()
			e.At, e.Operator, e.SubjectID = start.Add(time.Duration(min(i, 2))*time.Second), "binh", "identity.email"
			s.append(e)
			want = append(want, e)
		}
		s.append(full())
		slices.SortFunc(want, func(a, b audit.Entry) int {
			return cmp.Or(b.At.Compare(a.At), strings.Compare(b.ID, a.ID))
		})
		f := audit.Filter{Operator: "binh", SubjectID: "identity.email", Limit: 2}
		var got []audit.Entry
		var at time.Time
		var id string
		for {
			page, err := s.Behind(s.Context(), f, at, id)
			require.NoError(s, err)
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			at, id = page[len(page)-1].At, page[len(page)-1].ID
		}
		require.Equal(s, want, got)
		f.Since, f.Until = want[3].At, want[2].At
		page, err := s.Behind(s.Context(), f, time.Time{}, "")
		require.NoError(s, err)
		require.Equal(s, want[3:4], page)
		require.Len(s, s.list(audit.Filter{Operator: "an"}), 1)
		require.Empty(s, s.list(audit.Filter{SubjectID: "another"}))
	})
}
