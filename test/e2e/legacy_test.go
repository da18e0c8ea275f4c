//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/smap-platform/identity/internal/event/eventtest"
	"github.com/smap-platform/identity/internal/smtptest"
	"github.com/smap-platform/identity/test/harness"
)

// The previous release's names, spelled as it spells them.
const (
	fanoutExchange = "smtp_send_email_exc"
	fanoutQueue    = "smtp_send_email"
)

func inPhase(phase string, more ...string) map[string]string {
	env := map[string]string{"EVENTS_MIGRATION_PHASE": phase}
	for i := 0; i < len(more); i += 2 {
		env[more[i]] = more[i+1]
	}
	return env
}

// bindOtherTeam binds another team's queue to the fanout and returns its name.
func bindOtherTeam(t *testing.T, s *harness.TestSystem) string {
	t.Helper()
	const queue = "reporting.mails"
	s.OnBroker(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDeclare(fanoutExchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			return err
		}
		return ch.QueueBind(queue, "", fanoutExchange, false, nil)
	})
	return queue
}

// oldConsumer starts a consumer of the previous release.
func oldConsumer(t *testing.T, s *harness.TestSystem) *harness.Process {
	t.Helper()
	p := s.NewProgram("./test/migration/oldconsumer", "old-1", `"message":"consuming"`, "NAME=old-1")
	require.NoError(t, p.Start(t.Context()))
	return p
}

// nextMessage waits for a message of a queue and acks it.
func nextMessage(t *testing.T, s *harness.TestSystem, queue string) (d amqp.Delivery) {
	t.Helper()
	harness.Soon(t, func() error {
		found := false
		s.OnBroker(func(ch *amqp.Channel) (err error) {
			d, found, err = ch.Get(queue, true)
			return err
		})
		if !found {
			return fmt.Errorf("%s is empty", queue)
		}
		return nil
	})
	return d
}

var codeInHTML = regexp.MustCompile(`Your code is ([0-9]{6})`)

func htmlCode(t *testing.T, html string) string {
	t.Helper()
	found := codeInHTML.FindStringSubmatch(html)
	require.NotNil(t, found, "the mail has no code")
	return found[1]
}

// waitLedger waits until the ledger has recorded n mails as accepted, which it does after the mail server's 250.
func waitLedger(t *testing.T, s *harness.TestSystem, n int) {
	t.Helper()
	ledgerHas(t, s, n, "state = 'accepted'")
}

// TestPreviousRelease runs beside what the previous release has left: its exchange, its queue, its mails and its codes.
func TestPreviousRelease(t *testing.T) {
	t.Parallel()
	t.Run("prepare: the fanout copy is all there is", phasePrepare)
	t.Run("dual: the stamped copy is compared and never sent", phaseDual)
	t.Run("its mails are sent in every phase", previousMailInEveryPhase)
	t.Run("the first phase beside the last", firstPhaseBesideLast)
	t.Run("its mails are sent, its poison does not loop", previousMails)
	t.Run("a mail its consumer could not send", unsentByOldConsumer)
	t.Run("a mail in hand when the connection is cut", previousMailInHand)
	t.Run("a late fanout copy", lateFanoutCopy)
	t.Run("cleanup", fanoutCleanup)
	t.Run("a code of its pods", previousCode)
}

// phasePrepare checks that the fanout copy holds what an old consumer needs, and that ours sends it unchanged.
func phasePrepare(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	recorded, team := recordEvents(t, s), bindOtherTeam(t, s)
	p := register(t, s)
	mail := oneMail(t, s, p.email)
	id := mailEvent(t, s, p)
	require.Equal(t, "Your SMAP verification code", mail.Subject)
	require.Empty(t, mail.Text, "the previous release's mails are HTML and nothing else")
	require.Equal(t, id, mail.MessageID[:len(id)])
	p.code = htmlCode(t, mail.HTML)

	fanout := nextMessage(t, s, team)
	require.Equal(t, id, fanout.MessageId)
	require.Equal(t, "text/plain", fanout.ContentType)
	require.Empty(t, fanout.RoutingKey)
	require.Empty(t, fanout.Expiration)
	require.EqualValues(t, amqp.Persistent, fanout.DeliveryMode)
	expires, err := time.Parse(time.RFC3339Nano, fanout.Headers["x-expires-at"].(string))
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(10*time.Minute), expires, time.Minute)
	require.Regexp(t, `^\{"Subject":"Your SMAP verification code","Recipient":"`+p.email+
		`","Body":".+","ReplyTo":"","CcAddresses":null,"Attachments":\[\]\}$`, string(fanout.Body))
	waitLedger(t, s, 1)
	state, _ := ledger(t, s, id)
	require.Equal(t, "accepted", state)

	// A pod of the previous release could go on from here: it finds the code and can verify the password.
	var otp, hash string
	require.NoError(t, s.DB.QueryRowContext(t.Context(),
		"SELECT otp, password_hash FROM users WHERE id = $1 AND otp_expired_at > now()", p.id).Scan(&otp, &hash))
	require.Equal(t, p.code, otp)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte(harness.Password)))

	p.verify(t)
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, false))
	recorded.wait("subscription.created", p.id)
	require.Empty(t, recorded.events("email.verification.requested"))
	responds(t, s.APIs[0], "/health/rabbitmq", http.StatusOK, `"phase":"prepare"`)
	s.OutboxEmpty() // a mail may have come before the relay had its confirm
	published := 0.0
	for _, process := range s.Processes() {
		n, err := process.Metric(t.Context(), "events_legacy_published_total")
		require.NoError(t, err)
		published += n
	}
	require.EqualValues(t, 1, published, "by any relay")
	logsHideSecrets(t, s, p)
}

// phaseDual checks the comparison of the stamped copy, and that status names what stands in the way of the next phase.
func phaseDual(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("dual")})
	recorded, team := recordEvents(t, s), bindOtherTeam(t, s)
	p := register(t, s)
	mail := oneMail(t, s, p.email)
	id := mailEvent(t, s, p)
	stamped := recorded.wait("email.verification.requested", p.id)
	require.Equal(t, "legacy", stamped.Headers["x-mail-owner"])
	require.Equal(t, id, stamped.MessageId)
	harness.Soon(t, func() error {
		if n := s.Count("SELECT count(*) FROM mail_shadows WHERE event_id = $1 AND differing = ''", id); n != 1 {
			return fmt.Errorf("%d matches", n)
		}
		return nil
	})
	harness.Soon(t, func() error { // counted once it is stored
		if n := metric(t, s, `mail_shadows_total{result="match"}`); n != 1 {
			return fmt.Errorf("%v matches are counted", n)
		}
		return nil
	})
	p.code = htmlCode(t, mail.HTML)
	p.verify(t)

	var refusal harness.Output
	harness.Soon(t, func() error { // the management statistics lag behind
		refusal = s.Command(nil, harness.Consumer, "fanout", "status", "--to", "cutover")
		if !regexp.MustCompile("not yet.*" + team).MatchString(refusal.Stdout) {
			return errors.New(refusal.Stdout + refusal.Stderr)
		}
		return nil
	})
	require.NotZero(t, refusal.Code)
	s.OnBroker(func(ch *amqp.Channel) error { _, err := ch.QueueDelete(team, false, false, false); return err })
	harness.Soon(t, func() error {
		out := s.Command(nil, harness.Consumer, "fanout", "status", "--to", "cutover")
		if out.Code != 0 {
			return errors.New(out.Stdout + out.Stderr)
		}
		require.Contains(t, out.Stdout, "safe to go to cutover")
		return nil
	})
	out := s.Command(nil, harness.Consumer, "fanout", "status", "--to", "cutover", "--json")
	require.Zero(t, out.Code)
	require.True(t, json.Valid([]byte(out.Stdout)), out.Stdout)
	require.Len(t, s.Mailbox.All(p.email), 1)
	logsHideSecrets(t, s, p)
}

// previousMail publishes as a pod of the previous release does: transient, without an id or a header.
func previousMail(t *testing.T, s *harness.TestSystem, body string) {
	t.Helper()
	s.Publish(fanoutExchange, "", amqp.Publishing{ContentType: "text/plain", Body: []byte(body)})
}

func previousBody(recipient, attachments string) string {
	return `{"Subject":"Mã xác thực","Recipient":"` + recipient + `","Body":"\u003cb\u003e123456\u003c/b\u003e",` +
		`"ReplyTo":"","CcAddresses":null,"Attachments":` + attachments + `}`
}

// previousMailInEveryPhase checks that the mail of a forgotten pod is sent as long as its queue exists.
func previousMailInEveryPhase(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	s.OnBroker(func(ch *amqp.Channel) error { // as its pods have left it
		if err := ch.ExchangeDeclare(fanoutExchange, amqp.ExchangeFanout, true, false, false, false, nil); err != nil {
			return err
		}
		if _, err := ch.QueueDeclare(fanoutQueue, true, false, false, false, nil); err != nil {
			return err
		}
		return ch.QueueBind(fanoutQueue, "", fanoutExchange, false, nil)
	})
	for _, phase := range []string{"prepare", "dual", "cutover", "complete"} {
		c := s.NewConsumer("EVENTS_MIGRATION_PHASE=" + phase)
		require.NoError(t, c.Start(t.Context()))
		to := harness.Email()
		previousMail(t, s, previousBody(to, "[]"))
		require.Contains(t, oneMail(t, s, to).HTML, "<b>123456</b>", phase)
		s.Terminate(c)
	}
}

// firstPhaseBesideLast checks that everyone gets exactly one mail, whichever pod they meet.
func firstPhaseBesideLast(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	const complete = "EVENTS_MIGRATION_PHASE=complete"
	for _, p := range []*harness.Process{s.NewAPI(complete), s.NewConsumer(complete)} {
		require.NoError(t, p.Start(t.Context()))
		s.Ready(p)
	}
	client := s.Client()
	for range 20 { // in turn at both apis
		email := harness.Email()
		want(t, http.StatusCreated)(client.Register(t.Context(), email, harness.Password))
		oneMail(t, s, email)
	}
	s.OutboxEmpty()
	require.Len(t, s.Mailbox.All(""), 20)
	copies := 0.0
	for _, p := range slices.Concat(s.APIs, s.Consumers) { // any relay publishes any copy
		n, err := p.Metric(t.Context(), "events_legacy_published_total")
		require.NoError(t, err)
		copies += n
	}
	require.Equal(t, 10.0, copies, "each second mail was committed in prepare")
}

// previousMails checks that mails of its pods are sent, and that messages that cannot be read do not loop.
func previousMails(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Consumers: 1, Env: inPhase("cutover")})
	s.WaitLine(s.Consumers[0], `"queue":"smtp_send_email"`, "found") // before that the fanout drops messages
	to := harness.Email()
	previousMail(t, s, previousBody(to, "[]"))
	mail := oneMail(t, s, to)
	require.Equal(t, "Mã xác thực", mail.Subject)
	require.Contains(t, mail.HTML, "<b>123456</b>")

	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Reply(451).Times(1))
	later := harness.Email()
	previousMail(t, s, previousBody(later, "[]"))
	s.WaitLine(s.Consumers[0], `"queue":"identity.legacy"`, `"outcome":"retry"`)
	harness.Soon(t, func() error {
		if n := len(s.Mailbox.Accepted(later)); n != 1 {
			return fmt.Errorf("%d mails", n)
		}
		return nil
	})
	waitLedger(t, s, 2) // by the ids that ours gave them

	previousMail(t, s, `<not json>`)
	previousMail(t, s, previousBody(harness.Email(), `[{"Name":"a.pdf"}]`))
	letters := deadLetters(t, s, "identity.legacy", 2)
	require.ElementsMatch(t, []string{"unreadable", "invalid"}, []string{letters[0].Reason, letters[1].Reason})
	require.NotEmpty(t, letters[0].EventID)
	require.Zero(t, s.QueueLength(fanoutQueue))
	for _, address := range []string{to, later} {
		logsHideSecrets(t, s, &person{email: address})
	}
}

// unsentByOldConsumer checks a mail that the old consumer neither acks nor nacks. As soon as that consumer is gone ours
// sends it, once, with or without an id.
func unsentByOldConsumer(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	old := oldConsumer(t, s)
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Reply(451).Times(2))
	unnamed := harness.Email()
	previousMail(t, s, previousBody(unnamed, "[]"))
	s.WaitLine(old, `"message":"the mail was not sent"}`) // the line has no id, as the mail
	p := register(t, s)
	s.WaitLine(old, `"message":"the mail was not sent"`, mailEvent(t, s, p))
	harness.Soon(t, func() error { // the management statistics lag behind
		queues, err := s.Queues(t.Context())
		if err != nil {
			return err
		}
		for _, q := range queues {
			if q.Name == fanoutQueue && q.Messages != nil && *q.Messages == 2 {
				return nil
			}
		}
		return fmt.Errorf("the queue does not hold 2 messages: %+v", queues)
	})
	s.Terminate(old)
	for _, email := range []string{unnamed, p.email} {
		harness.Soon(t, func() error {
			if n := len(s.Mailbox.Accepted(email)); n != 1 {
				return fmt.Errorf("%d mails", n)
			}
			return nil
		})
		require.Empty(t, s.Mailbox.Accepted(email)[0].Header.Get("X-Sent-By"), "by ours")
	}
	harness.Soon(t, func() error {
		return errors.Join(lengthIs(s, fanoutQueue, 0), lengthIs(s, "identity.legacy", 0))
	})
	for _, email := range []string{unnamed, p.email} {
		require.Len(t, s.Mailbox.Accepted(email), 1)
	}
	waitLedger(t, s, 2)
}

// previousMailInHand cuts the connection while a mail without an id is being sent: the broker delivers it to the other
// consumer meanwhile.
func previousMailInHand(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Consumers: 2, Env: inPhase("prepare", "SMTP_TIMEOUT", "30s")})
	for _, c := range s.Consumers {
		s.WaitLine(c, `"queue":"smtp_send_email"`, "found")
	}
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(20 * time.Second).Times(1)) // rabbitmqctl takes seconds
	to := harness.Email()
	previousMail(t, s, previousBody(to, "[]"))
	s.WaitReached(smtptest.EndOfData, 1)
	rabbitmqctl(t, "close_all_connections", "--vhost", path.Base(s.BrokerURL), "cut by a test")
	harness.Soon(t, func() error {
		for _, c := range s.Consumers {
			if strings.Contains(strings.Join(c.Log.Lines(0), "\n"), `"outcome":"duplicate"`) {
				return nil
			}
		}
		return errors.New("the second delivery was not recognised as a duplicate")
	})
	oneMail(t, s, to)
	harness.Soon(t, func() error { return lengthIs(s, "identity.legacy", 0) })
}

// lateFanoutCopy checks that a copy which a pod of an earlier phase has left in the outbox is sent in complete,
// although nothing of the old topology exists any more.
func lateFanoutCopy(t *testing.T) {
	t.Parallel()
	nowhere := inPhase("prepare", "RABBITMQ_URL", "amqp://nobody:nothing@127.0.0.1:1/")
	s := harness.New(t, harness.Options{APIs: 1, Env: nowhere})
	p := register(t, s)
	require.NoError(t, s.APIs[0].Kill())
	_, err := s.DB.ExecContext(t.Context(), "UPDATE legacy_mails SET lease_until = NULL")
	require.NoError(t, err)

	here := []string{"RABBITMQ_URL=" + s.BrokerURL, "EVENTS_MIGRATION_PHASE=complete"}
	consumer := s.NewConsumer(here...)
	require.NoError(t, consumer.Start(t.Context()))
	mail := oneMail(t, s, p.email)
	require.NotEmpty(t, htmlCode(t, mail.HTML))
	s.OutboxEmpty()
}

// fanoutCleanup checks that the old topology is removed when nothing needs it, and no moment before.
func fanoutCleanup(t *testing.T) {
	t.Parallel()
	// There are no registrations before: five minutes would have to pass after the last fanout copy.
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("dual")})
	management := eventtest.LongUp(t, os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	cleanup := func(args ...string) harness.Output {
		args = append([]string{"fanout", "cleanup"}, args...)
		return s.Command([]string{"RABBITMQ_MANAGEMENT_URL=" + management}, harness.Consumer, args...)
	}
	out := cleanup()
	require.NotZero(t, out.Code)
	require.Contains(t, out.Stdout+out.Stderr, "dual")

	for _, p := range s.Processes() {
		s.Terminate(p)
	}
	api, consumer := s.NewAPI("EVENTS_MIGRATION_PHASE=complete"), s.NewConsumer("EVENTS_MIGRATION_PHASE=complete")
	require.NoError(t, api.Start(t.Context()))
	require.NoError(t, consumer.Start(t.Context()))
	s.Ready(consumer)
	out = cleanup()
	require.NotZero(t, out.Code)
	require.Contains(t, out.Stdout, "2 processes were in dual less than 5 minutes ago")
	_, err := s.DB.ExecContext(t.Context(), "UPDATE processes SET seen_at = seen_at - interval '6 minutes' WHERE phase = 'dual'")
	require.NoError(t, err)

	harness.Soon(t, func() error { // the management statistics lag behind
		if out := cleanup("--dry-run"); out.Code != 0 {
			return errors.New(out.Stdout + out.Stderr)
		}
		return nil
	})
	require.Zero(t, s.QueueLength(fanoutQueue), "it is still there")
	require.Zero(t, s.Count("SELECT count(*) FROM audit_entries"), "nothing has been done")
	out = cleanup("--by", "duc")
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, fanoutQueue)
	require.Contains(t, s.Command(nil, harness.API, "audit", "--action", "fanout.cleaned").Stdout, "operator duc")
	require.Contains(t, out.Stdout, fanoutExchange)
	require.Zero(t, cleanup().Code, "there is nothing left to do")

	p := registered(t, s)
	p.verify(t)
	require.Len(t, s.Mailbox.All(p.email), 1)
	out = s.Command(nil, harness.Consumer, "fanout", "status")
	require.Zero(t, out.Code, out.Stdout+out.Stderr)
}

// previousCode checks that a person who registered at a pod of the previous release verifies and logs in at one of
// ours.
func previousCode(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	hash, err := bcrypt.GenerateFromPassword([]byte(harness.Password), bcrypt.MinCost)
	require.NoError(t, err)
	enroll := func(age string) *person {
		p := &person{email: harness.Email(), client: s.Client(), code: "042317"}
		_, err := s.DB.ExecContext(t.Context(), `
			INSERT INTO users (username, password_hash, is_active, otp, otp_expired_at, created_at, updated_at)
			VALUES ($1, $2, false, $3, now() + interval '24 hours' - $4::interval, now(), now())`, p.email, string(hash), p.code, age)
		require.NoError(t, err)
		p.id = userID(t, s, p.email)
		return p
	}
	p := enroll("2 minutes")
	refused(t, http.StatusBadRequest, 20005)(p.client.Verify(t.Context(), p.email, "111111"))
	p.verify(t)
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, harness.Password, false))
	subscriptionState(t, s, p.id, "trialing")

	late := enroll("11 minutes")
	answer, err := late.client.Verify(t.Context(), late.email, late.code)
	require.NoError(t, err)
	require.GreaterOrEqual(t, answer.Status, http.StatusBadRequest, "any code lives ten minutes")
}
