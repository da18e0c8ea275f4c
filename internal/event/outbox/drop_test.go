package outbox

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestDropFailed(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		o := open(t, db)
		o.publish(o.mail("evt_1"), o.mail("evt_2"), o.mail("evt_waits"), o.state("evt_state"))
		_, err := db.Exec(t.Context(), "giving up", "UPDATE outbox SET failed_at = created_at WHERE event_id <> 'evt_waits'")
		require.NoError(t, err)
		then := o.clock.Now()
		o.clock.advance(time.Second)
		o.publish(o.mail("evt_young"))
		_, err = db.Exec(t.Context(), "giving up", "UPDATE outbox SET failed_at = created_at WHERE event_id = 'evt_young'")
		require.NoError(t, err)
		for _, want := range []int64{1, 1, 0} {
			n, err := Rows.DropFailed(context.Background(), db, then, 1)
			require.NoError(t, err)
			require.Equal(t, want, n)
		}
		left, err := database.All(t.Context(), db, "reading", database.Text, "SELECT event_id FROM outbox ORDER BY event_id")
		require.NoError(t, err)
		require.Equal(t, []string{"evt_state", "evt_waits", "evt_young"}, left)
	})
}
