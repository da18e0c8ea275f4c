//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// TestMorning is what the people behind the service do in a morning. An administrator's is TestAccounts.
func TestMorning(t *testing.T) {
	t.Parallel()
	t.Run("support: did they get their mail?", supportMorning)
	t.Run("an operator repairs what the night has left", operatorMorning)
}

// shownPerson is what `api user show --json` shows, as far as tests read it.
type shownPerson struct {
	User *struct {
		ID, State, Role string
	}
	Subscription *struct {
		Status   string
		Entitled bool
	}
	Sessions []struct{ ID string }
	Requests []struct {
		State      string
		CodeAt     time.Time `json:"code_at"`
		WrongTries int       `json:"wrong_tries"`
	} `json:"code_requests"`
	Mails, Waiting []shownMail
}

type shownMail struct {
	Kind, State, Class string
	EventID            string    `json:"event_id"`
	ChangedAt          time.Time `json:"changed_at"`
}

// show runs `api user show --json`, with no more settings than it uses.
func show(t *testing.T, s *harness.TestSystem, email string) (p shownPerson) {
	t.Helper()
	settings := []string{"EVENTS_SEAL_KEY=", "JWT_SECRET=", "TRIAL_DIGEST_KEY=", "RABBITMQ_URL=", "REDIS_HOST=", "SMTP_HOST="}
	out := s.Command(settings, harness.API, "user", "show", strings.ToUpper(email), "--json", "--by", "mai")
	require.Zero(t, out.Code, out.Stderr)
	require.NoError(t, json.Unmarshal([]byte(out.Stdout), &p), out.Stdout)
	return p
}

// showsMail waits until the newest mail to an address is in a state, and returns it.
func showsMail(t *testing.T, s *harness.TestSystem, email, state string) (m shownMail) {
	t.Helper()
	harness.Soon(t, func() error {
		p := show(t, s, email)
		if len(p.Mails) == 0 || p.Mails[0].State != state {
			return fmt.Errorf("the mails are %+v, the newest should be %s", p.Mails, state)
		}
		m = p.Mails[0]
		require.NotEmpty(t, m.EventID)
		require.False(t, m.ChangedAt.IsZero())
		waits := state == "outbox" || state == "owed" || state == "sending"
		require.Equal(t, waits, len(p.Waiting) == 1, "what waits: %+v", p.Waiting)
		return nil
	})
	return m
}

// resendMail runs `api mail resend` once the limits let it.
func resendMail(t *testing.T, s *harness.TestSystem, p *person) {
	t.Helper()
	again := []string{"mail", "resend", p.email, "--by", "mai"}
	_, err := s.DB.ExecContext(t.Context(), "UPDATE limits SET last_at = now()") // however long it took to come here
	require.NoError(t, err)
	require.Contains(t, s.Command(nil, harness.API, again...).Stderr, "try again in", "within the limits")
	aMinuteLater(t, s, p)
	_, err = s.DB.ExecContext(t.Context(), "UPDATE limits SET last_at = last_at - interval '120 seconds'")
	require.NoError(t, err)
	out := s.Command(nil, harness.API, again...)
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, mailEvent(t, s, p))
}

// supportMorning finds a mail in every place where it can be, and has others sent.
func supportMorning(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	alone := s.NewAPI("RABBITMQ_URL=amqp://nobody:nothing@127.0.0.1:1/")
	require.NoError(t, alone.Start(t.Context()))
	an, late, binh := register(t, s), register(t, s), register(t, s)
	for _, p := range []*person{an, late, binh} {
		require.Equal(t, mailEvent(t, s, p), showsMail(t, s, p.email, "outbox").EventID)
	}
	require.Equal(t, "not verified", show(t, s, an.email).User.State)

	require.NoError(t, alone.Kill())
	_, err := s.DB.ExecContext(t.Context(), "UPDATE outbox SET lease_until = NULL, available_at = now()")
	require.NoError(t, err)
	alone.Setenv("RABBITMQ_URL", s.BrokerURL)
	s.NewAPI()
	require.NoError(t, s.StartAll(t.Context()))
	for _, p := range []*person{an, late, binh} {
		showsMail(t, s, p.email, "owed")
	}
	old := mailEvent(t, s, binh)
	resendMail(t, s, binh)
	s.OutboxEmpty()

	taken := make(chan struct{})
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Until(taken).To(func(to string) bool { return to == an.email }))
	consumer := s.NewConsumer("SMTP_TIMEOUT=60s")
	s.StartReady(consumer)
	showsMail(t, s, an.email, "sending")
	close(taken)
	m := showsMail(t, s, an.email, "accepted")
	require.Equal(t, "verification", m.Kind)
	require.Contains(t, oneMail(t, s, an.email).MessageID, m.EventID, "what the mail server can be asked for")

	showsMail(t, s, binh.email, "accepted")
	shown := show(t, s, binh.email)
	require.Len(t, shown.Mails, 2)
	require.Equal(t, old, shown.Mails[1].EventID)
	require.Equal(t, "superseded", shown.Mails[1].State)

	// Nobody's mail server takes it.
	chi := harness.Email()
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(550).To(func(to string) bool { return to == chi }))
	want(t, http.StatusCreated)(s.Client().Register(t.Context(), chi, harness.Password))
	require.Equal(t, "smtp_rcpt_550", showsMail(t, s, chi, "failed").Class)

	publish := func(id, key string, data map[string]any, headers amqp.Table) {
		body, err := json.Marshal(map[string]any{
			"event_id": id, "timestamp": time.Now().UTC(), "payload": map[string]any{"service": "billing", "action": key, "data": data},
		})
		require.NoError(t, err)
		s.Publish(harness.Exchange, key, amqp.Publishing{
			MessageId: id, ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: body, Headers: headers,
		})
	}
	// Its code was dead before it could leave: the person gets another one.
	_, err = s.DB.ExecContext(t.Context(), "UPDATE code_requests SET event_id = 'evt_late' WHERE user_id = $1", late.id)
	require.NoError(t, err)
	aMinuteLater(t, s, late)
	publish("evt_late", "email.verification.requested", map[string]any{
		"user_id": late.id, "recipient": late.email, "otp_code": "123456", "locale": "en", "expires_at": time.Now().Add(-time.Minute).UTC(),
	}, nil)
	harness.Soon(t, func() error {
		mails := show(t, s, late.email).Mails
		if len(mails) != 3 || mails[0].State != "accepted" || mails[1].EventID != "evt_late" || mails[1].State != "expired" {
			return fmt.Errorf("the mails are %+v", mails)
		}
		return nil
	})

	// Its retries have used up their hour.
	notice := map[string]any{
		"user_id": an.id, "recipient": an.email, "locale": "en", "kind": "password_changed", "occurred_at": time.Now().UTC(),
	}
	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(450).To(func(to string) bool { return to == an.email }))
	publish("evt_dead", "email.security_notice.requested", notice, amqp.Table{
		"x-attempts": "9", "x-first-failed-at": time.Now().Add(-2 * time.Hour).UTC().Format(time.RFC3339),
	})
	require.Equal(t, "exhausted", showsMail(t, s, an.email, "dead").Class)
	s.Mailbox.Script()

	// And the person verifies in the end.
	binh.readMail(t, s)
	binh.verify(t)
	want(t, http.StatusOK)(binh.client.Login(t.Context(), binh.email, harness.Password, false))
	shown = show(t, s, binh.email)
	require.Equal(t, "active", shown.User.State)
	require.Equal(t, "USER", shown.User.Role)
	require.Equal(t, "trialing", shown.Subscription.Status)
	require.True(t, shown.Subscription.Entitled)
	require.NotEmpty(t, shown.Sessions)
	require.Equal(t, "used", shown.Requests[0].State)
	out := s.Command(nil, harness.API, "mail", "resend", binh.email, "--by", "mai")
	require.Equal(t, 1, out.Code)
	require.Contains(t, out.Stderr, "nobody waits for a code")
	text := s.Command(nil, harness.API, "user", "show", binh.email)
	for _, word := range []string{"active", "trialing", "superseded", "accepted", old, "mails of the last 30 days: 2"} {
		require.Contains(t, text.Stdout, word)
	}
	require.NotContains(t, text.Stdout, binh.code)

	entries := auditOf(t, s, administrator(t, s), "action=mail.resent")
	require.Len(t, entries, 1)
	require.Equal(t, auditEntry{Action: "mail.resent", Operator: "mai", UserID: binh.id, SubjectID: mailEvent(t, s, binh)}, entries[0])
	require.Contains(t, s.Command(nil, harness.API, "audit", "--user", binh.email).Stdout, "operator mai")
	logsHideSecrets(t, s, an, binh, late)
}

// auditEntry is an entry of GET /audit, as far as tests read it.
type auditEntry struct {
	Action, Operator string
	ActorID          string `json:"actor_id"`
	UserID           string `json:"user_id"`
	SubjectID        string `json:"subject_id"`
}

// auditOf returns the entries that an administrator is shown, the newest first.
func auditOf(t *testing.T, s *harness.TestSystem, admin *person, query string) []auditEntry {
	t.Helper()
	var found struct{ Entries []auditEntry }
	answer := want(t, http.StatusOK)(admin.client.Call(t.Context(), http.MethodGet, "/audit?limit=100&"+query, nil))
	require.NoError(t, json.Unmarshal(answer.Data, &found))
	return found.Entries
}

// operatorMorning repairs the system by every command there is. Each leaves its entry.
func operatorMorning(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 1})
	admin := administrator(t, s)
	command := func(args ...string) string {
		t.Helper()
		out := s.Command(nil, harness.Consumer, append(args, "--by", "duc")...)
		require.Zero(t, out.Code, out.Stderr)
		return out.Stdout
	}

	s.Mailbox.Script(smtptest.At(smtptest.Rcpt).Reply(550))
	p, q := register(t, s), register(t, s)
	deadLetters(t, s, emailQueue, 2)
	s.Mailbox.Script()
	command("dlq", "replay", emailQueue, "--id", mailEvent(t, s, p))
	p.readMail(t, s)
	p.verify(t)
	command("dlq", "discard", emailQueue, "--id", mailEvent(t, s, q), "--reason", "not our customer")
	require.Empty(t, dlq(t, s, "list", emailQueue))

	subscriptionState(t, s, p.id, "trialing")
	require.NoError(t, s.Redis.FlushDB(t.Context()).Err())
	command("state", "rebuild")
	subscriptionState(t, s, p.id, "trialing")

	for _, process := range s.Processes() {
		require.NoError(t, process.Kill())
	}
	_, err := s.DB.ExecContext(t.Context(), `INSERT INTO outbox
		(id, event_id, exchange, routing_key, content_type, mandatory, headers, body, sealed, event_time, created_at, available_at, failed_at)
		VALUES ($1, 'evt_given_up', $2, 'user.enabled', 'application/json', false, '{}', '{}', false, now(), now(), now(), now())`,
		uuid.NewString(), harness.Exchange)
	require.NoError(t, err)
	require.Contains(t, command("outbox", "retry"), "1 rows are due again")
	require.NoError(t, s.StartAll(t.Context()))
	s.OutboxEmpty()

	var actions []string
	for _, e := range auditOf(t, s, admin, "") {
		if e.Operator == "duc" {
			actions = append(actions, e.Action+" "+e.SubjectID)
		}
	}
	require.Equal(t, []string{
		"outbox.retried ", "state.rebuilt ", "deadletters.discarded " + emailQueue, "deadletters.replayed " + emailQueue,
	}, actions)
	out := s.Command(nil, harness.API, "audit", "--action", "deadletters.discarded", "--by", "duc").Stdout
	for _, word := range []string{"operator duc", "not our customer", mailEvent(t, s, q)} {
		require.Contains(t, out, word)
	}
	for _, words := range [][]string{
		{"dlq", "replya", emailQueue}, {"outbox", "rety"}, {"state", "rebild"}, {"outbox", "retry", "--bye", "duc"},
	} {
		out := s.Command(nil, harness.Consumer, words...)
		require.Equal(t, 1, out.Code)
		require.Contains(t, out.Stderr, "--help", words)
	}
}
