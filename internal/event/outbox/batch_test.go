package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

// invitation is one of a batch.
func (o *office) invitation(id, batch string, notBefore time.Time) event.Event {
	return event.Event{
		ID: id, Key: event.InvitationRequested, Time: o.clock.Now(), ProjectID: batch, Batch: batch, NotBefore: notBefore,
		Data: event.InvitationMail{
			UserID: "u1", Recipient: "ann@example.com", Token: "t0ken", Locale: "en", ExpiresAt: o.clock.Now().Add(time.Hour),
		},
	}
}

// invitations returns n of one batch, spaced from first on, with ids that sort as they come.
func (o *office) invitations(n int, batch string, first time.Time, spacing time.Duration) []event.Event {
	events := make([]event.Event, n)
	for i := range events {
		events[i] = o.invitation(fmt.Sprintf("evt_%s_%04d", batch, i), batch, first.Add(time.Duration(i)*spacing))
	}
	return events
}

func (o *office) withdraw(batch string) (ids []string) {
	o.Helper()
	require.NoError(o, o.db.WithinTx(context.Background(), func(ctx context.Context) (err error) {
		ids, err = Withdraw(ctx, o.db, batch, o.clock.Now())
		return err
	}))
	slices.Sort(ids)
	return ids
}

// idsOf returns the event ids, in their order.
func idsOf(events []event.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

func TestBatch(t *testing.T) {
	t.Parallel()
	t.Run("many are published together", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			events := o.invitations(2*rowsPerInsert(db.Dialect())+17, "batch", time.Time{}, 0)
			events[7] = o.state(events[7].ID)
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				return o.publisher.Publish(ctx, events...)
			}))
			require.Equal(t, 1, o.woken)
			require.Equal(t, Depth{Rows: len(events)}, o.depth())
			require.NotContains(t, string(o.column(events[3].ID, "body")), "t0ken", "sealed, each for itself")
			require.Contains(t, string(o.column(events[7].ID, "body")), "trialing")
			require.Equal(t, "batch", string(o.column(events[3].ID, "batch_id")))
			require.Empty(t, o.column(events[7].ID, "batch_id"))

			require.Equal(t, len(events), o.step(o.relay()))
			want := append([]string{events[7].ID}, slices.Delete(idsOf(events), 7, 8)...)
			require.Equal(t, want, o.broker.ids(), "in their order, but for the one that stands for itself")
		})
	})
	t.Run("nothing is stored when one of many is invalid", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			events := o.invitations(rowsPerInsert(db.Dialect())+2, "batch", time.Time{}, 0)
			events[len(events)-1].Data = event.InvitationMail{UserID: "u1"}
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.ErrorContains(t, o.publisher.Publish(ctx, events...), "lacks recipient")
				return nil
			}))
			require.Zero(t, o.depth())
			require.Zero(t, o.woken)
		})
	})
	t.Run("a row does not leave before its time", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			start := o.clock.Now()
			due := start.Add(1500 * time.Millisecond).Add(789) // finer than the database keeps, and in another zone
			o.publish(
				o.invitation("evt_past", "batch", start.Add(-time.Hour)),
				o.invitation("evt_later", "batch", due.In(time.FixedZone("ICT", 7*60*60))),
			)
			r := o.relay()
			require.Equal(t, 1, o.step(r), "a time that has passed is now")
			require.Zero(t, o.depth().OldestDue)
			o.clock.advance(1500*time.Millisecond - time.Microsecond)
			require.Zero(t, o.step(r))
			require.Equal(t, Depth{Rows: 1}, o.depth(), "waiting, and not late")
			next, ok, err := Rows.NextDue(context.Background(), db)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, start.Add(1500*time.Millisecond), next)
			o.clock.advance(time.Microsecond)
			require.Equal(t, 1, o.step(r))
			require.Equal(t, []string{"evt_past", "evt_later"}, o.broker.ids())
			_, ok, err = Rows.NextDue(context.Background(), db)
			require.NoError(t, err)
			require.False(t, ok, "none is left")
		})
	})
	// However many of a batch are due, and since when: a row of its own goes first, in the same claim or an earlier one.
	t.Run("leaves behind rows that stand for themselves", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.invitations(batchSize+1, "batch_z", time.Time{}, 0)...)
			o.publish(o.invitations(3, "batch_a", o.clock.Now().Add(time.Second), 0)...)
			o.clock.advance(time.Minute)
			o.publish(o.mail("evt_alone_1"), o.state("evt_alone_2"))
			r := o.relay()
			require.Equal(t, batchSize+2, o.step(r), "a full claim of each kind: neither starves the other")
			require.Equal(t, []string{"evt_alone_1", "evt_alone_2", "evt_batch_z_0000"}, o.broker.ids()[:3])
			o.clock.advance(time.Minute)
			require.Equal(t, 1+3, o.step(r))
			require.Equal(t, []string{"evt_batch_z_0512", "evt_batch_a_0000", "evt_batch_a_0001", "evt_batch_a_0002"},
				o.broker.ids()[batchSize+2:], "batches among themselves: by the time they came due, not by their names")
			require.Zero(t, o.depth())
		})
	})
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	t.Run("deletes what no relay has in hand", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.invitations(2, "mine", time.Time{}, 0)...)
			claimed, err := o.relay().claim(context.Background(), batchSize)
			require.NoError(t, err)
			require.Len(t, claimed, 2) // a relay has these in hand
			later := o.invitations(rowsPerInsert(db.Dialect())+1, "mine", o.clock.Now().Add(time.Hour), time.Second)
			for i := range later {
				later[i].ID = "evt_later_" + strconv.Itoa(1000+i)
			}
			o.publish(later...)
			o.publish(o.invitation("evt_given_up", "mine", time.Time{}), o.invitation("evt_other", "another", time.Time{}), o.state("evt_alone"))
			_, err = db.Conn(context.Background()).ExecContext(context.Background(),
				"UPDATE outbox SET failed_at = $1 WHERE event_id = 'evt_given_up'", o.clock.Now())
			require.NoError(t, err)

			require.Equal(t, append([]string{"evt_given_up"}, idsOf(later)...), o.withdraw("mine"))
			require.Equal(t, 4, o.depth().Rows, "two in hand, one of another batch, and one that stands for itself")
			require.Empty(t, o.withdraw("mine"), "only once")
			require.Empty(t, o.withdraw("nobody's"))

			o.clock.advance(lease) // the relay was killed
			require.Equal(t, []string{"evt_mine_0000", "evt_mine_0001"}, o.withdraw("mine"))
			o.step(o.relay())
			require.Equal(t, []string{"evt_alone", "evt_other"}, o.broker.ids())
		})
	})
	t.Run("shares the fate of its transaction", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			o := open(t, db)
			o.publish(o.invitations(3, "mine", time.Time{}, 0)...)
			regret := errors.New("regret")
			require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				ids, err := Withdraw(ctx, db, "mine", o.clock.Now())
				require.NoError(t, err)
				require.Len(t, ids, 3)
				return regret
			}), regret)
			require.Equal(t, 3, o.step(o.relay()))
		})
	})
}
