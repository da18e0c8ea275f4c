package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/pkg/database"
)

func TestEraseUser(t *testing.T) {
	t.Parallel()
	each(t, func(s *suite) {
		user, admin, next := uuid.NewString(), uuid.NewString(), uuid.NewString()
		details := audit.Details{Address: "other@example.com", IP: "203.0.113.7", Agent: "curl", Reason: "fraud"}
		add := func(actor, user string, at time.Time, d audit.Details) audit.Entry {
			e := audit.Entry{
				ID: uuid.NewString(), At: at, Action: audit.UserDisabled, Outcome: audit.Done, ActorID: actor, UserID: user, Details: d,
			}
			s.append(e)
			return e
		}
		const email = "An@example.com"
		until := start.Add(time.Hour)
		about := add(admin, user, start.Add(2*time.Hour), details)
		by := add(user, next, start, details)
		named := add("", "", start, audit.Details{Address: "AN@EXAMPLE.COM", IP: "203.0.113.7"})
		mentioned := add(admin, next, start, audit.Details{Reason: "the same as an@example.com"})
		later := add("", next, until, audit.Details{Address: email, IP: "203.0.113.7"})
		others := add(admin, next, start, details)
		require.ErrorIs(s, s.EraseUser(s.Context(), user, email, until), database.ErrNoTx)
		for range 2 {
			require.NoError(s, s.db.WithinTx(s.Context(), func(ctx context.Context) error {
				return s.EraseUser(ctx, user, email, until)
			}))
		}
		about.Details, named.Details, mentioned.Details = audit.Details{}, audit.Details{}, audit.Details{}
		by.IP, by.Agent = "", ""
		require.ElementsMatch(s, []audit.Entry{about, by, named, mentioned, later, others}, s.list(audit.Filter{}))
	})
}
