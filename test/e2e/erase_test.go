//go:build e2e

package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/notification"
	"github.com/smap-platform/identity/test/harness"
)

// TestErasure searches everything that the servers hold for a person who was deleted: a dump of the database, every
// message of every queue, every key and value of Redis. Before the erasure the address is in each place that can hold it.
func TestErasure(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1, Env: map[string]string{
		"INVITATIONS_PER_SECOND": "1000", "INVITATION_URL": invitationURL,
	}})
	admin, p := administrator(t, s), verified(t, s)
	stays := verified(t, s)
	const name = "Zuzana Erasable"
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, true))
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodPut, "/users/me", map[string]string{"full_name": name}))
	subscriptionState(t, s, p.id, "trialing")
	want(t, http.StatusAccepted)(admin.client.Call(t.Context(), http.MethodPost, invitations, append(newAddresses(1), p.email),
		"Idempotency-Key", "for "+p.email))
	want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodPost, "/users/"+p.id+"/disable",
		map[string]string{"reason": "asked by " + p.email}))
	want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodDelete, "/users/"+p.id, map[string]string{"reason": name}))
	subscriptionState(t, s, p.id, "cancelled")
	s.OutboxEmpty()

	body := fmt.Sprintf(`{"recipient":"%s"}`, p.email)
	letter := func(at time.Time) amqp.Publishing {
		return amqp.Publishing{
			MessageId: "evt_" + uuid.NewString(), Timestamp: at, ContentType: "application/json", DeliveryMode: amqp.Persistent,
			Body: []byte(body),
		}
	}
	monthAgo := time.Now().Add(-31 * 24 * time.Hour)
	s.Publish(harness.Exchange, "email.unheard.of", letter(monthAgo))
	s.Publish(harness.Exchange, "invitation.unheard.of", letter(monthAgo))
	young := letter(time.Now())
	young.Body = []byte(`{"recipient":"` + stays.email + `"}`)
	s.Publish(harness.Exchange, "email.unheard.of", young)
	for queue, n := range map[string]int{emailQueue: 2, invitationQueue: 1} {
		deadLetters(t, s, queue, n)
	}
	// A mail that the relay has given up: its body is sealed, and cannot be found by a search. That its row goes is tested.
	execute(t, s, `INSERT INTO outbox (id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed,
		event_time, created_at, available_at, failed_at) VALUES ($1, 'evt_given_up', 'smap.events', 'email.unheard.of', 'application/json',
		true, '{}', $2, true, $3, $3, $3, now())`, uuid.NewString(), []byte(body), monthAgo)

	digests := map[string]string{}
	key := keyOf(t, "CODE_HMAC_KEY")
	digests["table limits"] = string(authentication.CodeKey(key).LimitDigest(p.email))
	digests["table mail_deliveries"] = string(notification.NewRecipientKey(key).Digest(p.email))

	places := heldBy(t, s)
	for place, digest := range digests {
		require.True(t, contains(places[place], digest), "before, a digest of the address is in %s", place)
	}
	for _, place := range []string{
		"table users", "table code_requests", "table invitation_reports", "table invitation_batches", "table audit_entries",
		"table outbox", "queue identity.email.dead", "queue identity.invitation.dead",
	} {
		require.True(t, contains(places[place], p.email), "before, the address is in %s; %v", place, slices.Sorted(maps.Keys(places)))
	}
	require.True(t, contains(places["table users"], name))
	require.Contains(t, places, "redis smap:sub:"+p.id)

	purge := func() {
		out := s.Command(nil, harness.Consumer, "purge")
		require.Zero(t, out.Code, out.Stderr)
	}
	purge()
	require.True(t, contains(heldBy(t, s)["table users"], p.email), "too early")
	execute(t, s, `UPDATE users SET created_at = created_at - interval '31 days', deleted_at = deleted_at - interval '31 days'
		WHERE id = $1`, p.id)
	// Until a minute ago a new user might have begun to register: what is as old belongs to nobody else.
	for _, change := range []string{
		"code_requests SET code_at = code_at - interval '2 minutes'", "limits SET last_at = last_at - interval '2 minutes'",
		"mail_deliveries SET created_at = created_at - interval '2 minutes'",
		"invitation_batches SET created_at = created_at - interval '2 minutes'",
	} {
		execute(t, s, "UPDATE "+change)
	}
	done := make(chan harness.Output, 2)
	for range 2 { // two processes at once
		go func() { done <- s.Command(nil, harness.Consumer, "purge") }()
	}
	for range 2 {
		out := <-done
		require.Zero(t, out.Code, out.Stderr)
	}

	for place, text := range heldBy(t, s) {
		for what, clue := range map[string]string{
			"address": p.email, "name": name, "limit": digests["table limits"], "recipient": digests["table mail_deliveries"],
		} {
			require.False(t, contains(text, clue), "the %s is in %s", what, place)
		}
	}
	require.NotContains(t, heldBy(t, s), "redis smap:sub:"+p.id)
	require.Equal(t, 1, s.Count("SELECT count(*) FROM users WHERE id = $1 AND erased_at IS NOT NULL", p.id))
	require.Equal(t, 1, s.Count("SELECT count(*) FROM audit_entries WHERE user_id = $1 AND action = 'user.erased'", p.id))
	require.Equal(t, 1, s.Count("SELECT count(*) FROM audit_entries WHERE action = 'outbox.erased'"))
	require.Equal(t, 2, s.Count("SELECT count(*) FROM audit_entries WHERE action = 'deadletters.erased'"))
	require.Len(t, dlq(t, s, "list", emailQueue), 1, "the young one stays")
	require.True(t, contains(heldBy(t, s)["table users"], stays.email))
	want(t, http.StatusOK)(stays.client.Login(t.Context(), stays.email, harness.Password, false))
}

func execute(t *testing.T, s *harness.TestSystem, statement string, args ...any) {
	t.Helper()
	_, err := s.DB.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// contains reports whether a text has a clue, as it is, in hexadecimal as in a dump, or in base64.
func contains(text []byte, clue string) bool {
	text = bytes.ToLower(text)
	for _, form := range []string{clue, hex.EncodeToString([]byte(clue)), base64.StdEncoding.EncodeToString([]byte(clue))} {
		if bytes.Contains(text, []byte(strings.ToLower(form))) {
			return true
		}
	}
	return false
}

// keyOf returns a key of the processes.
func keyOf(t *testing.T, variable string) []byte {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(os.Getenv(variable))
	require.NoError(t, err)
	require.NotEmpty(t, key)
	return key
}

// heldBy returns everything that PostgreSQL, RabbitMQ and Redis hold, by place. What is compressed is in it as it was.
func heldBy(t *testing.T, s *harness.TestSystem) map[string][]byte {
	t.Helper()
	places := map[string][]byte{}
	for _, table := range texts(t, s, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'") {
		place := "table " + table
		for _, row := range texts(t, s, "SELECT t::text FROM "+table+" t") { // bytes in hexadecimal
			places[place] = append(places[place], row...)
		}
	}
	for _, part := range texts(t, s, "SELECT encode(data, 'base64') FROM invitation_reports") {
		raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(part, "\n", ""))
		require.NoError(t, err)
		unzipped, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		report, err := io.ReadAll(unzipped)
		require.NoError(t, err)
		places["table invitation_reports"] = append(places["table invitation_reports"], report...)
	}
	queues, err := s.Queues(t.Context())
	require.NoError(t, err)
	for _, q := range queues {
		s.OnBroker(func(ch *amqp.Channel) error { // what was got goes back when the channel closes
			for {
				m, found, err := ch.Get(q.Name, false)
				if err != nil || !found {
					return err
				}
				places["queue "+q.Name] = fmt.Appendf(places["queue "+q.Name], "%s %v %s\n", m.RoutingKey, m.Headers, m.Body)
			}
		})
	}
	keys := s.Redis.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		value, err := s.Redis.Dump(t.Context(), keys.Val()).Result()
		require.NoError(t, err)
		places["redis "+keys.Val()] = []byte(keys.Val() + " " + value)
	}
	require.NoError(t, keys.Err())
	return places
}
