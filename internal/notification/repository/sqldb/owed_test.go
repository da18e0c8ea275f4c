package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/internal/notification/repository/sqldb"
	"github.com/smap-platform/identity/pkg/database"
)

var (
	an   = notification.NewRecipientKey([]byte("a key")).Digest("an@example.com")
	binh = notification.NewRecipientKey([]byte("a key")).Digest("binh@example.com")
)

func TestOwe(t *testing.T) {
	t.Parallel()
	t.Run("stores every entry, in any number", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			entries := make([]notification.Delivery, 1203)
			for i := range entries {
				due := now.Add(time.Duration(i) * time.Second)
				entries[i] = notification.NewOwed(fmt.Sprintf("evt_%04d", i), "invitation", an, now, due)
			}
			require.NoError(s, s.owe(entries...))
			require.Equal(s, len(entries), s.count())
			for _, want := range []notification.Delivery{entries[0], entries[1], entries[len(entries)-1]} {
				require.Equal(s, want, s.lock(notification.NewDelivery(want.EventID, "", now.Add(time.Hour))))
			}
		})
	})

	t.Run("leaves an entry of the same event as it is", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			require.NoError(s, s.change(func(d *notification.Delivery) { d.Accept(now) }))
			require.NoError(s, s.owe(notification.NewOwed(eventID, "verification", an, now, now)))
			require.Equal(s, notification.StateAccepted, s.state(eventID))
		})
	})

	t.Run("joins a transaction, and needs one", func(t *testing.T) {
		t.Parallel()
		each(t, func(s suite) {
			owed := []notification.Delivery{notification.NewOwed(eventID, "verification", an, now, now)}
			require.ErrorIs(s, s.ledger.Owe(context.Background(), owed), database.ErrNoTx)
			errRefused := errors.New("refused")
			require.ErrorIs(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(s, s.ledger.Owe(ctx, owed))
				return errRefused
			}), errRefused)
			require.Zero(s, s.count())
		})
	})
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		require.NoError(s, s.owe(notification.NewOwed("evt_owed", "invitation", an, now, now),
			notification.NewOwed("evt_claimed", "invitation", an, now, now),
			notification.NewOwed("evt_other", "invitation", an, now, now)))
		require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
			d, err := s.ledger.Lock(ctx, notification.NewDelivery("evt_claimed", "", now))
			require.NoError(s, err)
			_, err = d.Claim(now, time.Minute, 1)
			require.NoError(s, err)
			return s.ledger.Save(ctx, d)
		}))
		require.NoError(s, s.ledger.Withdraw(context.Background(), []string{"evt_owed", "evt_claimed", "evt_unknown"}, now))
		require.Equal(s, notification.StateSuperseded, s.state("evt_owed"))
		require.Equal(s, notification.StateSending, s.state("evt_claimed"), "it may have left")
		require.Equal(s, notification.StateOwed, s.state("evt_other"))
		require.NoError(s, s.ledger.Withdraw(context.Background(), nil, now))
	})
}

func TestOwed(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		owed := func(at time.Time) sqldb.Owed {
			o, err := s.ledger.Owed(context.Background(), at)
			require.NoError(s, err)
			return o
		}
		require.Zero(s, owed(now))

		left := notification.NewOwed("evt_left", "verification", an, now.Add(-time.Hour), now)
		left.State = notification.StateLegacy
		require.NoError(s, s.owe(left, notification.NewOwed("evt_later", "invitation", an, now.Add(-time.Hour), now.Add(time.Hour))))
		require.Zero(s, owed(now), "neither what is left to others nor what is not due")
		require.Equal(s, sqldb.Owed{Mails: 1, Oldest: time.Minute}, owed(now.Add(time.Hour+time.Minute)), "since it was due")

		require.NoError(s, s.owe(notification.NewOwed("evt_1", "verification", an, now.Add(-2*time.Minute), time.Time{}),
			notification.NewOwed("evt_2", "verification", an, now.Add(-time.Minute), time.Time{})))
		require.Equal(s, sqldb.Owed{Mails: 2, Oldest: 2 * time.Minute}, owed(now))

		require.NoError(s, s.change(func(d *notification.Delivery) {
			_, err := d.Claim(now, time.Minute, 1)
			require.NoError(s, err)
		}))
		require.Equal(s, sqldb.Owed{Mails: 2, Oldest: 2 * time.Minute}, owed(now), "what is being sent is waited for")
		require.NoError(s, s.change(func(d *notification.Delivery) { d.Accept(now) }))
		require.Equal(s, sqldb.Owed{Mails: 1, Oldest: time.Minute}, owed(now))
	})
}

func TestTo(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		old := notification.NewRecipientKey([]byte("the key before")).Digest("an@example.com")
		require.NoError(s, s.owe(
			notification.NewOwed("evt_1", "verification", an, now, now),
			notification.NewOwed("evt_2", "password_reset", an, now.Add(time.Second), now),
			notification.NewOwed("evt_3", "verification", old, now.Add(-time.Second), now),
			notification.NewOwed("evt_4", "verification", binh, now, now),
			notification.NewOwed("evt_5", "verification", an, now.Add(-time.Hour), now),
		))
		var events []string
		ids := func(digests ...[]byte) (ids []string) {
			mails, err := s.ledger.To(context.Background(), now.Add(-time.Minute), digests, events)
			require.NoError(s, err)
			for _, d := range mails {
				ids = append(ids, d.EventID)
			}
			return ids
		}
		require.Equal(s, []string{"evt_2", "evt_1"}, ids(an))
		require.Equal(s, []string{"evt_2", "evt_1", "evt_3"}, ids(an, old))
		events = []string{"evt_3", "evt_5", "evt_unknown"}
		require.Equal(s, []string{"evt_2", "evt_1", "evt_3"}, ids(an), "and those of events")
	})
}

func TestEraseRecipient(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		old := notification.NewRecipientKey([]byte("an older key")).Digest("an@example.com")
		owed := func(id string, recipient []byte, at time.Time) notification.Delivery {
			d := notification.NewOwed(id, "verification", recipient, at, at)
			require.NoError(s, s.owe(d))
			return d
		}
		first, second := owed("evt_1", an, now.Add(-time.Second)), owed("evt_2", old, now.Add(-time.Second))
		later, others := owed("evt_3", an, now), owed("evt_4", binh, now.Add(-time.Second))
		digests := [][]byte{an, old}
		require.ErrorIs(s, s.ledger.EraseRecipient(context.Background(), digests, now), database.ErrNoTx)
		require.NoError(s, s.db.WithinTx(context.Background(), func(ctx context.Context) error {
			return s.ledger.EraseRecipient(ctx, digests, now)
		}))
		first.Recipient, second.Recipient = nil, nil
		for _, want := range []notification.Delivery{first, second, later, others} {
			require.Equal(s, want, s.lock(want), "its event can come again")
		}
	})
}
