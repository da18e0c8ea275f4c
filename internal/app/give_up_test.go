package app

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/internal/notification"
	mailsql "github.com/smap-platform/identity/internal/notification/repository/sqldb"
	notifications "github.com/smap-platform/identity/internal/notification/usecase"
	"github.com/smap-platform/identity/internal/schema/schematest"
)

// Every mail that is given up ends in the ledger, whichever key asked for it.
func TestGivenUpMails(t *testing.T) {
	t.Parallel()
	db := schematest.SQLite(t)
	ledger := mailsql.NewLedger(db)
	clock := &handClock{time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)}
	mails := notifications.New(notifications.Deps{Tx: db, Ledger: ledger, Clock: clock, Domain: "smap.example"})
	counted := func(next event.Handler) event.Handler { return next }
	policy := event.Policy{Levels: []time.Duration{time.Second}, GiveUpAfter: time.Hour}
	table := routes(handlers{mails: mails, counted: counted})
	// giveUp has the event id given up on its route and returns the state of its mail.
	giveUp := func(r route, id, owner string) notification.State {
		handle := event.Chain(r.handle, append(r.around, event.Limit(policy, clock.Now))...)
		err := handle(t.Context(), event.Delivery{
			Message:   event.Message{ID: id, Headers: map[string]string{legacy.HeaderOwner: owner}},
			HandedOut: event.CrashLoopLimit,
		})
		outcome, _ := event.Ended(err)
		require.Equal(t, event.ReasonCrashLoop, outcome, id)
		state, err := ledger.State(context.Background(), id)
		require.NoError(t, err)
		return state
	}
	asking := 0
	for _, r := range table {
		id := "evt_of_" + r.queue + "_" + string(r.key)
		if r.around == nil || !r.key.AsksForMail() && r.queue != LegacyQueue { // nil: another queue has the mail
			require.Empty(t, giveUp(r, id, ""), id)
			continue
		}
		require.Equal(t, notification.StateFailed, giveUp(r, id, ""), id)
		asking++
	}
	require.Equal(t, 8, asking)
	require.Equal(t, event.EmailVerificationRequested, table[0].key)
	require.Empty(t, giveUp(table[0], "evt_shadow", legacy.OwnerLegacy), "what is only compared is another copy's mail")
}
