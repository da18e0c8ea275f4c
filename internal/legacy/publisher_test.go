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
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var _ event.Publisher = (*Publisher)(nil)

func TestPublisher(t *testing.T) {
	t.Parallel()
	for phase, want := range map[Phase]struct{ copies, topic int }{
		Prepare:  {copies: 1},
		Dual:     {copies: 1, topic: 1},
		Cutover:  {topic: 1},
		Complete: {topic: 1},
	} {
		t.Run("which copies are committed in "+string(phase), func(t *testing.T) {
			t.Parallel()
			eachDesk(t, func(d *desk) {
				d.register()
				d.commit(phase, otherEvent(), verification())
				events := d.topic.Events()
				require.Equal(t, otherEvent(), events[0], "the phase governs nothing but mails with a code")
				require.Len(t, events, 1+want.topic)
				if want.topic == 1 {
					owner := events[1].Headers[HeaderOwner]
					require.Equal(t, want.copies == 1, owner == OwnerLegacy, "exactly one copy sends: %q", owner)
				}
				require.Equal(t, want.copies, d.woken)
				copies := d.copies()
				require.Len(t, copies, want.copies)
				for _, m := range copies {
					require.Equal(t, eventID, m.ID, "copies share the event's id")
				}
			})
		})
	}

	// What consumers of the previous release read, to the byte (docs/compatibility.md).
	t.Run("a legacy copy is the previous release's mail", func(t *testing.T) {
		t.Parallel()
		eachDesk(t, func(d *desk) {
			d.register()
			for _, phase := range []Phase{Prepare, Dual} {
				d.commit(phase, verification())
				copies := d.copies()
				require.Len(t, copies, 1)
				m := copies[0]
				body := `{"Subject":"Your code [vi]","Recipient":"ann@example.com",` +
					`"Body":"\u003cp class=\"a\"\u003e493817 \u0026 now 2026-01-31T09:30:00.123Z, until 2026-01-31T09:40:00.123999Z\u003c/p\u003e",` +
					`"ReplyTo":"","CcAddresses":null,"Attachments":[]}`
				require.Equal(t, body, string(m.Body), "%s: as of the milliseconds of the envelope", phase)
				m.Body, m.Timestamp = nil, m.Timestamp.UTC()
				require.Equal(t, event.Message{
					ID: eventID, Exchange: "smtp_send_email_exc", RoutingKey: "", ContentType: "text/plain",
					Timestamp: start.Truncate(time.Second), Mandatory: true,
					Headers: map[string]string{"x-expires-at": "2026-01-31T09:40:00.123999Z"},
				}, m)
				exec(t, d.db, "DELETE FROM legacy_mails")
			}
		})
	})

	t.Run("a legacy copy is sealed at rest and carries the trace", func(t *testing.T) {
		t.Parallel()
		eachDesk(t, func(d *desk) {
			ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
				TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
			}))
			require.NoError(t, d.db.WithinTx(ctx, func(ctx context.Context) error {
				return d.publisher(Dual).Publish(ctx, verification())
			}))
			var body []byte
			require.NoError(t, d.db.Conn(ctx).QueryRowContext(ctx, "SELECT body FROM legacy_mails").Scan(&body))
			require.NotContains(t, string(body), code)
			require.NotContains(t, string(body), recipient)
			require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-01",
				d.copies()[0].Headers[event.HeaderTraceparent])
		})
	})

	t.Run("a stamped copy is the topic copy and digests", func(t *testing.T) {
		t.Parallel()
		want, err := event.Encode(verification())
		require.NoError(t, err)
		got := stampedCopy(t, verification())
		require.Equal(t, []string{"x-legacy-body-hmac", "x-legacy-recipient-hmac", "x-legacy-subject-hmac", "x-mail-owner"},
			slices.Sorted(maps.Keys(got.Headers)))
		require.Equal(t, "legacy", got.Headers["x-mail-owner"])
		want.Headers, got.Headers = nil, nil
		require.Equal(t, want, got)
	})

	t.Run("is equally strict in every phase", func(t *testing.T) {
		t.Parallel()
		big := with(func(d *event.VerificationRequested) { d.Recipient = strings.Repeat("x", event.MaxBody) })
		nobody := with(func(d *event.VerificationRequested) { d.Recipient = "" })
		noID := verification()
		noID.ID = ""
		eachDesk(t, func(d *desk) {
			for _, phase := range Phases {
				require.NoError(t, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
					p := d.publisher(phase)
					require.ErrorIs(t, p.Publish(ctx, big), event.ErrTooLarge)
					require.ErrorContains(t, p.Publish(ctx, nobody), "recipient")
					require.ErrorContains(t, p.Publish(ctx, noID), "id")
					return nil
				}))
			}
			require.Empty(t, d.copies())
			require.Empty(t, d.topic.Events())
		})
	})

	t.Run("a mail that cannot be written is not committed", func(t *testing.T) {
		t.Parallel()
		dead := with(func(d *event.VerificationRequested) { d.ExpiresAt = start.Truncate(time.Millisecond) })
		huge := func(d *PublisherDeps) {
			d.Render = func(string, string, time.Time, time.Time) (string, string, error) {
				return "s", strings.Repeat("<", event.MaxBody/6), nil // six bytes each, as the previous release writes them
			}
		}
		eachDesk(t, func(d *desk) {
			for _, phase := range []Phase{Prepare, Dual} {
				require.NoError(t, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
					err := d.publisher(phase).Publish(ctx, dead)
					require.ErrorContains(t, err, "the code is dead")
					require.NotContains(t, err.Error(), code)
					require.ErrorIs(t, d.publisher(phase, huge).Publish(ctx, verification()), event.ErrTooLarge)
					return nil
				}))
			}
			require.Empty(t, d.copies())
		})
	})

	t.Run("an error of the topic or of a row is the caller's", func(t *testing.T) {
		t.Parallel()
		eachDesk(t, func(d *desk) {
			broken := errors.New("the disk is full")
			d.topic.Err = broken
			for _, phase := range []Phase{Dual, Cutover, Complete} {
				require.ErrorIs(t, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
					return d.publisher(phase).Publish(ctx, verification())
				}), broken)
			}
			require.Empty(t, d.copies(), "rolled back")
			exec(t, d.db, "DROP TABLE legacy_mails")
			require.ErrorContains(t, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
				return d.publisher(Dual).Publish(ctx, verification())
			}), "storing the copy of "+eventID)
		})
	})

	t.Run("copies share the fate of their transaction", func(t *testing.T) {
		t.Parallel()
		eachDesk(t, func(d *desk) {
			d.register()
			for _, phase := range []Phase{Prepare, Dual} {
				regret := errors.New("regret")
				require.ErrorIs(t, d.publisher(phase).Publish(context.Background(), verification()), database.ErrNoTx)
				require.ErrorIs(t, d.db.WithinTx(context.Background(), func(ctx context.Context) error {
					require.NoError(t, d.publisher(phase).Publish(ctx, verification()))
					return regret
				}), regret)
				require.Empty(t, d.copies())
				require.Zero(t, d.woken)
			}
		})
	})

	t.Run("in prepare the code is also written where old pods look", func(t *testing.T) {
		t.Parallel()
		eachDesk(t, func(d *desk) {
			stored := func() int {
				return d.count("SELECT count(*) FROM users WHERE id = $1 AND otp = $2 AND otp_expired_at = $3", userID, code,
					start.Add(authentication.CodeLifetime))
			}
			d.register()
			for _, phase := range []Phase{Dual, Cutover, Complete} {
				d.commit(phase, verification())
				require.Zero(t, stored(), phase)
			}
			d.commit(Prepare, verification())
			require.Equal(t, 1, stored())
		})
	})

	t.Run("in prepare a code of a user who has gone is mailed all the same", func(t *testing.T) {
		t.Parallel()
		schematest.Each(t, func(t *testing.T, db *database.DB) {
			d := newDesk(t, db)
			d.topic = &eventtest.Recorder{}
			d.commit(Prepare, verification())
			require.Len(t, d.copies(), 1)
			d.register()
			exec(t, db, "UPDATE users SET deleted_at = $1", start)
			exec(t, db, "DELETE FROM legacy_mails")
			d.commit(Prepare, verification())
			require.Len(t, d.copies(), 1)
			require.Zero(t, d.count("SELECT count(*) FROM users WHERE otp IS NOT NULL"))
		})
	})
}
