//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

const (
	emailQueue        = "identity.email"
	invitationQueue   = "identity.invitation"
	subscriptionQueue = "identity.subscription"
)

// deadLetter is a line of `consumer dlq list --json`.
type deadLetter struct {
	Queue      string `json:"queue"`
	EventID    string `json:"event_id"`
	RoutingKey string `json:"routing_key"`
	Reason     string `json:"reason"`
	ErrorClass string `json:"error_class"`
	Attempts   int    `json:"attempts"`
	DeadAt     string `json:"dead_at"`
	BodyBytes  int    `json:"body_bytes"`
	Action     string `json:"action"`
}

// dlq runs `consumer dlq … --json` and returns the dead letters it prints.
func dlq(t *testing.T, s *harness.TestSystem, args ...string) (letters []deadLetter) {
	t.Helper()
	out := s.Command(nil, harness.Consumer, append([]string{"dlq", "--json"}, args...)...)
	require.Zero(t, out.Code, out.Stderr)
	require.NoError(t, json.Unmarshal([]byte(out.Stdout), &letters), out.Stdout)
	return letters
}

// deadLetters waits until there are n, and returns them.
func deadLetters(t *testing.T, s *harness.TestSystem, queue string, n int) []deadLetter {
	t.Helper()
	harness.Soon(t, func() error { return lengthIs(s, queue+".dead", n) })
	letters := dlq(t, s, "list", queue)
	require.Len(t, letters, n)
	return letters
}

func lengthIs(s *harness.TestSystem, queue string, n int) error {
	if have := s.QueueLength(queue); have != n {
		return fmt.Errorf("%s holds %d messages, expected %d", queue, have, n)
	}
	return nil
}

// TestDeadLetters checks what ends in the dead-letter queues, and the commands on them.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	t.Run("unreadable messages end there and hold nothing up", unreadableMessages)
	t.Run("list, replay and discard", deadLetterCommands)
	t.Run("a replay does not make a message readable", replayUnreadable)
}

// unreadableMessages publishes messages that cannot be read. They end in the dead-letter queue with their reason, and
// the next message is handled at once.
func unreadableMessages(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	full := `{"event_id":"%","timestamp":"2026-01-31T09:30:00.123Z","payload":{"service":"identity","action":"x","data":{"user_id":"` +
		uuid.NewString() + `","otp_code":"123456","locale":"en","expires_at":"2036-01-31T09:30:00Z"}}}`
	poison := []struct {
		name, key, body, queue, reason string
	}{
		{"not JSON", "email.verification.requested", "this is not JSON", emailQueue, "unreadable"},
		{"empty", "email.verification.requested", "", emailQueue, "unreadable"},
		{"no event_id", "email.verification.requested", `{"payload":{}}`, emailQueue, "invalid"},
		{"payload is a text", "email.verification.requested", `{"event_id":"%","payload":"x"}`, emailQueue, "invalid"},
		{"no recipient", "email.verification.requested", full, emailQueue, "invalid"},
		{"wrong type", "email.verification.requested", `{"event_id":"%","payload":{"data":{"user_id":7}}}`, emailQueue, "invalid"},
		{"unknown key", "email.nonsense", full, emailQueue, "unknown_key"},
		{"200 KB", "email.verification.requested", strings.Repeat("x", 200<<10), emailQueue, "unreadable"},
		{"10 MB", "email.verification.requested", strings.Repeat("x", 10<<20), emailQueue, "unreadable"},
		{"no version", "subscription.created", `{"event_id":"%","payload":{"data":{"user_id":"u"}}}`, subscriptionQueue, "invalid"},
		{"unknown key", "subscription.nonsense", `{"event_id":"%","payload":{}}`, subscriptionQueue, "unknown_key"},
	}
	wanted := map[string]int{} // event id → index
	perQueue := map[string]int{}
	for i, p := range poison {
		id := "evt_" + uuid.NewString()
		wanted[id], perQueue[p.queue] = i, perQueue[p.queue]+1
		s.Publish(harness.Exchange, p.key, amqp.Publishing{
			MessageId: id, ContentType: "application/json", DeliveryMode: amqp.Persistent,
			Body: []byte(strings.ReplaceAll(p.body, "%", id)),
		})
	}
	began := time.Now()
	good := verified(t, s)
	subscriptionState(t, s, good.id, "trialing")
	require.Less(t, time.Since(began), 20*time.Second, "the next message does not wait behind an unreadable one")

	for queue, n := range perQueue {
		for _, letter := range deadLetters(t, s, queue, n) {
			p := poison[wanted[letter.EventID]]
			require.Equal(t, p.reason, letter.Reason, p.name)
			require.Equal(t, p.key, letter.RoutingKey, p.name)
			require.Equal(t, p.queue, letter.Queue, p.name)
			require.Zero(t, letter.Attempts, "%s: no second try", p.name)
			require.NotEmpty(t, letter.DeadAt, p.name)
			require.Equal(t, len(strings.ReplaceAll(p.body, "%", letter.EventID)), letter.BodyBytes, p.name)
		}
		require.Zero(t, s.QueueLength(queue))
	}
	require.Len(t, s.Mailbox.All(""), 1)
	logsHideSecrets(t, s, good)
}

// deadLetterCommands checks list, replay and discard, and what they must not do.
func deadLetterCommands(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	recorded := recordEvents(t, s)
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(550))
	p, q := register(t, s), register(t, s)
	letters := deadLetters(t, s, emailQueue, 2)
	for _, letter := range letters {
		require.Equal(t, "rejected", letter.Reason)
		require.Equal(t, "smtp_rcpt_550", letter.ErrorClass)
		state, class := ledger(t, s, letter.EventID)
		require.Equal(t, "failed", state)
		require.Equal(t, "smtp_rcpt_550", class)
	}
	event := recorded.wait("email.verification.requested", p.id)
	var secret struct {
		OTPCode string `json:"otp_code"`
	}
	require.NoError(t, event.data(&secret))
	listHidesBodies(t, s, p.email, secret.OTPCode)
	refusesCarelessUse(t, s)

	// The server has recovered: the named mail is sent, and no other.
	s.Mailbox.Script()
	require.Equal(t, "replayed", dlq(t, s, "replay", emailQueue, "--id", event.EventID)[0].Action)
	p.code = oneMail(t, s, p.email).Code()
	require.Equal(t, secret.OTPCode, p.code)
	p.verify(t)
	require.Len(t, deadLetters(t, s, emailQueue, 1), 1)

	// An accepted mail is never sent again.
	s.Publish("", emailQueue+".dead", amqp.Publishing{
		MessageId: event.EventID, ContentType: event.ContentType, DeliveryMode: amqp.Persistent, Body: event.Body,
		Headers: amqp.Table{"x-routing-key": event.RoutingKey, "x-dead-reason": "rejected"},
	})
	deadLetters(t, s, emailQueue, 2)
	require.Equal(t, "already_sent", dlq(t, s, "replay", emailQueue, "--id", event.EventID)[0].Action)
	require.Len(t, deadLetters(t, s, emailQueue, 1), 1)

	out := s.Command(nil, harness.Consumer, "dlq", "discard", emailQueue, "--all", "--reason", "not our customer")
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, "discarded "+mailEvent(t, s, q))
	require.Contains(t, out.Stderr, "not our customer", "the reason is logged")
	require.Empty(t, dlq(t, s, "list", emailQueue))
	require.Len(t, s.Mailbox.All(p.email), 1)
	require.Empty(t, s.Mailbox.All(q.email))
}

func listHidesBodies(t *testing.T, s *harness.TestSystem, email, code string) {
	t.Helper()
	text := s.Command(nil, harness.Consumer, "dlq", "list", emailQueue)
	require.Zero(t, text.Code, text.Stderr)
	require.Equal(t, 3, strings.Count(text.Stdout, "\n"), "a heading and a line each:\n%s", text.Stdout)
	asJSON := s.Command(nil, harness.Consumer, "dlq", "list", emailQueue, "--json")
	for _, out := range []string{text.Stdout, text.Stderr, asJSON.Stdout, asJSON.Stderr} {
		require.NotContains(t, out, email)
		require.NotContains(t, out, "recipient")
		require.NotRegexp(t, `(^|[^0-9a-f])`+code+`([^0-9a-f]|$)`, out)
	}
}

func refusesCarelessUse(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	for _, test := range []struct {
		word string
		args []string
	}{
		{"--all", []string{"discard", emailQueue, "--reason", "tidy"}},
		{"--all", []string{"replay", emailQueue}},
		{"--id is empty", []string{"discard", emailQueue, "--id", "", "--reason", "tidy"}},
		{"shw", []string{"shw", emailQueue}},
		{"--reason", []string{"discard", emailQueue, "--all"}},
		{"--reason", []string{"discard", emailQueue, "--id", "evt_none"}},
		{"no such queue", []string{"list", "identity.nonsense"}},
		{"evt_none", []string{"replay", emailQueue, "--id", "evt_none"}},
		{"evt_none", []string{"discard", emailQueue, "--id", "evt_none", "--reason", "tidy"}},
	} {
		out := s.Command(nil, harness.Consumer, append([]string{"dlq"}, test.args...)...)
		require.Equal(t, 1, out.Code, "%q", test.args)
		require.Contains(t, out.Stderr, test.word, "%q", test.args)
	}
	require.Equal(t, 2, s.QueueLength(emailQueue+".dead"), "nothing has changed")
}

// replayUnreadable checks that a replayed message that cannot be read becomes a dead letter again.
func replayUnreadable(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Consumers: 1})
	body := []byte("not JSON")
	s.Publish(harness.Exchange, "subscription.created", amqp.Publishing{MessageId: "evt_poison", Body: body})
	first := deadLetters(t, s, subscriptionQueue, 1)[0]
	require.Equal(t, "replayed", dlq(t, s, "replay", subscriptionQueue, "--all")[0].Action)
	harness.Soon(t, func() error { return lengthIs(s, subscriptionQueue+".dead", 1) })
	again := deadLetters(t, s, subscriptionQueue, 1)[0]
	require.Equal(t, "unreadable", again.Reason)
	require.Equal(t, "subscription.created", again.RoutingKey)
	require.NotEqual(t, first.DeadAt, again.DeadAt)
	s.OnBroker(func(ch *amqp.Channel) error {
		d, ok, err := ch.Get(subscriptionQueue+".dead", true)
		require.True(t, ok)
		require.True(t, bytes.Equal(body, d.Body), "the body is unchanged")
		return err
	})
}
