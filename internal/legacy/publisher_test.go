package legacy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var _ event.Publisher = (*Publisher)(nil)

func TestWhichCopiesAPhaseCommits(t *testing.T) {
	t.Parallel()
	for phase, want := range map[Phase]struct {
		rows []string // exchange and owner of each
		next int
	}{
		Prepare:  {rows: []string{Exchange + " "}},
		Dual:     {rows: []string{Exchange + " ", event.Exchange + " " + OwnerLegacy}},
		Cutover:  {next: 1},
		Complete: {next: 1},
	} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			next, rows := &eventtest.Recorder{}, &memory{}
			p := NewPublisher(phase, next, rows, plain, digests)
			require.NoError(t, p.Publish(context.Background(), verification()))
			var got []string
			for _, row := range rows.rows {
				got = append(got, row.Exchange+" "+row.Headers[HeaderOwner])
				require.Equal(t, eventID, row.ID, "copies share the event's id")
				require.True(t, row.sealed)
			}
			require.Equal(t, want.rows, got)
			require.Len(t, next.Events(), want.next)
			if want.next == 1 {
				require.Equal(t, verification(), next.Events()[0], "untouched")
			}

			require.NoError(t, p.Publish(context.Background(), otherEvent()))
			require.Len(t, rows.rows, len(want.rows), "the phase governs nothing but mails with a code")
			require.Equal(t, otherEvent(), next.Events()[want.next])
		})
	}
}

// What consumers of the previous release read, to the byte (docs/compatibility.md).
func TestTheFanoutCopyIsThePreviousReleasesMail(t *testing.T) {
	t.Parallel()
	for _, phase := range []Phase{Prepare, Dual} {
		row := commit(t, phase, verification())[0]
		body := `{"Subject":"Your code [vi]","Recipient":"ann@example.com",` +
			`"Body":"\u003cp class=\"a\"\u003e493817 \u0026 now 2026-01-31T09:30:00.123Z, until 2026-01-31T09:40:00.123999Z\u003c/p\u003e",` +
			`"ReplyTo":"","CcAddresses":null,"Attachments":[]}`
		require.Equal(t, body, string(row.Body), "%s: as of the milliseconds of the envelope", phase)
		row.Body = nil
		require.Equal(t, event.Message{
			ID: eventID, Exchange: "smtp_send_email_exc", RoutingKey: "", ContentType: "text/plain",
			Timestamp: start.Truncate(time.Second), Mandatory: true, Single: true,
			Headers: map[string]string{"x-expires-at": "2026-01-31T09:40:00.123999Z"},
		}, row.Message)
	}
}

func TestTheStampedCopyIsTheTopicCopyAndDigests(t *testing.T) {
	t.Parallel()
	rows := commit(t, Dual, verification())
	require.Len(t, rows, 2)
	want, err := event.Encode(verification())
	require.NoError(t, err)
	got := rows[1].Message
	require.Equal(t, []string{"x-legacy-body-hmac", "x-legacy-recipient-hmac", "x-legacy-subject-hmac", "x-mail-owner"},
		slices.Sorted(maps.Keys(got.Headers)))
	require.Equal(t, "legacy", got.Headers["x-mail-owner"])
	want.Headers, got.Headers = nil, nil
	require.Equal(t, want, got)
	require.False(t, got.Single, "our consumers recognise repeats")
}

func TestPublishIsEquallyStrictInEveryPhase(t *testing.T) {
	t.Parallel()
	big := with(func(d *event.VerificationRequested) { d.Recipient = strings.Repeat("x", event.MaxBody) })
	nobody := with(func(d *event.VerificationRequested) { d.Recipient = "" })
	noID := verification()
	noID.ID = ""
	for _, phase := range Phases {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			next, rows := &eventtest.Recorder{}, &memory{}
			p := NewPublisher(phase, next, rows, plain, digests)
			require.ErrorIs(t, p.Publish(context.Background(), big), event.ErrTooLarge)
			require.ErrorContains(t, p.Publish(context.Background(), nobody), "recipient")
			require.ErrorContains(t, p.Publish(context.Background(), noID), "id")
			require.Empty(t, rows.rows)
			require.Empty(t, next.Events())
		})
	}
}

func TestAMailThatCannotBeWrittenIsNotCommitted(t *testing.T) {
	t.Parallel()
	dead := with(func(d *event.VerificationRequested) { d.ExpiresAt = start.Truncate(time.Millisecond) })
	huge := func(string, string, time.Time, time.Time) (string, string, error) {
		return "s", strings.Repeat("<", event.MaxBody/6), nil // six bytes each, as the previous release writes them
	}
	for _, phase := range []Phase{Prepare, Dual} {
		rows := &memory{}
		err := NewPublisher(phase, nil, rows, plain, digests).Publish(context.Background(), dead)
		require.ErrorContains(t, err, "the code is dead")
		require.NotContains(t, err.Error(), code)
		require.ErrorIs(t, NewPublisher(phase, nil, rows, huge, digests).Publish(context.Background(), verification()), event.ErrTooLarge)
		require.Empty(t, rows.rows)
	}
}

func TestTheErrorOfARowIsTheCallers(t *testing.T) {
	t.Parallel()
	for failAt, phases := range map[int][]Phase{1: {Prepare, Dual}, 2: {Dual}} {
		for _, phase := range phases {
			rows := &memory{failAt: failAt}
			require.ErrorIs(t, NewPublisher(phase, nil, rows, plain, digests).Publish(context.Background(), verification()), errRows)
			require.Len(t, rows.rows, failAt-1)
		}
	}
	broken := &eventtest.Recorder{Err: errRows}
	for _, phase := range []Phase{Cutover, Complete} {
		require.ErrorIs(t, NewPublisher(phase, broken, nil, plain, digests).Publish(context.Background(), verification()), errRows)
	}
}

func TestCopiesShareTheFateOfTheirTransaction(t *testing.T) {
	t.Parallel()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		rows := newOutbox(t, db)
		for phase, want := range map[Phase]int{Prepare: 1, Dual: 2, Cutover: 1, Complete: 1} {
			p := NewPublisher(phase, rows, rows, plain, digests)
			regret := errors.New("regret")
			require.ErrorIs(t, p.Publish(context.Background(), verification()), database.ErrNoTx)
			require.ErrorIs(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				require.NoError(t, p.Publish(ctx, verification()))
				return regret
			}), regret)
			require.Zero(t, count(t, db, "SELECT count(*) FROM outbox"))
			require.NoError(t, db.WithinTx(context.Background(), func(ctx context.Context) error {
				return p.Publish(ctx, verification())
			}))
			require.Equal(t, want, count(t, db, "SELECT count(*) FROM outbox WHERE event_id = $1 AND sealed", eventID), phase)
			fanout := 0
			if phase.Fanout() {
				fanout = 1
			}
			require.Equal(t, fanout, count(t, db, "SELECT count(*) FROM outbox WHERE exchange = $1 AND single", Exchange), phase)
			exec(t, db, "DELETE FROM outbox")
		}
	})
}
