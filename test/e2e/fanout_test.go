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
	"github.com/smap-platform/identity/test/system"
)

// The previous release's names, spelled as it and its neighbours do.
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

// otherTeam binds a queue of its own to the fanout and answers its name.
func otherTeam(t *testing.T, s *system.System) string {
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
func oldConsumer(t *testing.T, s *system.System) *system.Process {
	t.Helper()
	p := s.NewProgram("./test/walk/oldconsumer", "old-1", `"message":"consuming"`, "NAME=old-1")
	require.NoError(t, p.Start(t.Context()))
	return p
}

// taken answers the next message of a queue.
func taken(t *testing.T, s *system.System, queue string) (d amqp.Delivery) {
	t.Helper()
	system.Soon(t, func() error {
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

// TestPrepare: a fanout copy is all there is, what an old consumer needs is in it, and ours sends it as it stands.
func TestPrepare(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	neighbour, team := s.Neighbour(), otherTeam(t, s)
	p := register(t, s)
	mail := oneMail(t, s, p.email)
	id := mailEvent(t, s, p)
	require.Equal(t, "Your SMAP verification code", mail.Subject)
	require.Empty(t, mail.Text, "the previous release's mails are HTML and nothing else")
	require.Equal(t, id, mail.MessageID[:len(id)])
	p.code = htmlCode(t, mail.HTML)

	fanout := taken(t, s, team)
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
	require.Equal(t, 1, s.Count("SELECT count(*) FROM mail_deliveries WHERE event_id = $1 AND state = 'accepted'", id))

	// A pod of the previous release could take over here: it finds the code, and can read the password.
	var otp, hash string
	require.NoError(t, s.DB.QueryRowContext(t.Context(), "SELECT otp, password_hash FROM users WHERE id = $1 AND otp_expired_at > now()", p.id).
		Scan(&otp, &hash))
	require.Equal(t, p.code, otp)
	require.NoError(t, bcrypt.CompareHashAndPassword([]byte(hash), []byte(system.Password)))

	p.verify(t)
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, system.Password, false))
	neighbour.Wait("subscription.created", p.id)
	require.Empty(t, neighbour.Events("email.verification.requested"))
	says(t, s.APIs[0], "/health/rabbitmq", http.StatusOK, `"phase":"prepare"`)
	published := 0.0
	for _, process := range s.Processes() {
		n, err := process.Metric(t.Context(), "events_legacy_published_total")
		require.NoError(t, err)
		published += n
	}
	require.EqualValues(t, 1, published, "by whichever relay")
	keepsSecrets(t, s, p)
}

// TestDual: the stamped copy is compared and never sent; status says what stands in the way of the next step.
func TestDual(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("dual")})
	neighbour, team := s.Neighbour(), otherTeam(t, s)
	p := register(t, s)
	mail := oneMail(t, s, p.email)
	id := mailEvent(t, s, p)
	stamped := neighbour.Wait("email.verification.requested", p.id)
	require.Equal(t, "legacy", stamped.Headers["x-mail-owner"])
	require.Equal(t, id, stamped.MessageId)
	system.Soon(t, func() error {
		if n := s.Count("SELECT count(*) FROM mail_shadows WHERE event_id = $1 AND differing = ''", id); n != 1 {
			return fmt.Errorf("%d matches", n)
		}
		return nil
	})
	matches, err := s.Consumers[0].Metric(t.Context(), `mail_shadows_total{result="match"}`)
	require.NoError(t, err)
	require.EqualValues(t, 1, matches)
	p.code = htmlCode(t, mail.HTML)
	p.verify(t)

	var refusal system.Output
	system.Soon(t, func() error { // the management database lags
		if refusal = s.Command(nil, system.Consumer, "fanout", "status", "--to", "cutover"); !regexp.MustCompile("not yet.*" + team).MatchString(refusal.Stdout) {
			return errors.New(refusal.Stdout + refusal.Stderr)
		}
		return nil
	})
	require.NotZero(t, refusal.Code)
	s.OnBroker(func(ch *amqp.Channel) error { _, err := ch.QueueDelete(team, false, false, false); return err })
	system.Soon(t, func() error {
		out := s.Command(nil, system.Consumer, "fanout", "status", "--to", "cutover")
		if out.Code != 0 {
			return errors.New(out.Stdout + out.Stderr)
		}
		require.Contains(t, out.Stdout, "safe to go to cutover")
		return nil
	})
	out := s.Command(nil, system.Consumer, "fanout", "status", "--to", "cutover", "--json")
	require.Zero(t, out.Code)
	require.True(t, json.Valid([]byte(out.Stdout)), out.Stdout)
	require.Len(t, s.Mailbox.All(p.email), 1)
	keepsSecrets(t, s, p)
}

// previousMail is what a pod of the previous release publishes: transient, without an id or a header.
func previousMail(t *testing.T, s *system.System, body string) {
	t.Helper()
	s.Publish(fanoutExchange, "", amqp.Publishing{ContentType: "text/plain", Body: []byte(body)})
}

func previousBody(recipient, attachments string) string {
	return `{"Subject":"Mã xác thực","Recipient":"` + recipient + `","Body":"\u003cb\u003e123456\u003c/b\u003e","ReplyTo":"","CcAddresses":null,"Attachments":` + attachments + `}`
}

// TestMailOfThePreviousReleaseInEveryPhase: a mail of a forgotten pod is sent as long as there is the queue.
func TestMailOfThePreviousReleaseInEveryPhase(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{})
	s.OnBroker(func(ch *amqp.Channel) error { // as its own pods have left it
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
		to := system.Email()
		previousMail(t, s, previousBody(to, "[]"))
		require.Contains(t, oneMail(t, s, to).HTML, "<b>123456</b>", phase)
		c.Terminate(t)
	}
}

// TestTheFirstPhaseBesideTheLast: nobody gets two mails and nobody none, whichever pod he meets.
func TestTheFirstPhaseBesideTheLast(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	for _, p := range []*system.Process{s.NewAPI("EVENTS_MIGRATION_PHASE=complete"), s.NewConsumer("EVENTS_MIGRATION_PHASE=complete")} {
		require.NoError(t, p.Start(t.Context()))
		s.Ready(p)
	}
	client := s.Client()
	for range 20 { // by turns at both apis
		email := system.Email()
		want(t, http.StatusCreated)(client.Register(t.Context(), email, system.Password))
		oneMail(t, s, email)
	}
	s.OutboxEmpty()
	require.Len(t, s.Mailbox.All(""), 20)
	copies := 0.0
	for _, p := range slices.Concat(s.APIs, s.Consumers) { // any relay publishes anybody's copy
		n, err := p.Metric(t.Context(), "events_legacy_published_total")
		require.NoError(t, err)
		copies += n
	}
	require.Equal(t, 10.0, copies, "each second mail was committed in prepare")
}

// TestMailsOfThePreviousRelease: its pods' mails are sent, its poison does not go round for ever.
func TestMailsOfThePreviousRelease(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Consumers: 1, Env: inPhase("cutover")})
	s.Consumers[0].WaitLine(t, `"queue":"smtp_send_email"`, "found") // before, nothing is bound, and the fanout drops
	to := system.Email()
	previousMail(t, s, previousBody(to, "[]"))
	mail := oneMail(t, s, to)
	require.Equal(t, "Mã xác thực", mail.Subject)
	require.Contains(t, mail.HTML, "<b>123456</b>")

	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Reply(451).Times(1))
	later := system.Email()
	previousMail(t, s, previousBody(later, "[]"))
	s.Consumers[0].WaitLine(t, `"queue":"identity.legacy"`, `"outcome":"retry"`)
	system.Soon(t, func() error {
		if n := len(s.Mailbox.Accepted(later)); n != 1 {
			return fmt.Errorf("%d mails", n)
		}
		return nil
	})
	require.Equal(t, 1, s.Count("SELECT count(*) FROM mail_deliveries WHERE state = 'accepted'"), "a repeat has an id, and the ledger knows it")

	previousMail(t, s, `<not json>`)
	previousMail(t, s, previousBody(system.Email(), `[{"Name":"a.pdf"}]`))
	letters := deadLetters(t, s, "identity.legacy", 2)
	require.ElementsMatch(t, []string{"unreadable", "invalid"}, []string{letters[0].Reason, letters[1].Reason})
	require.NotEmpty(t, letters[0].EventID)
	require.Zero(t, s.QueueLength(fanoutQueue))
	for _, address := range []string{to, later} {
		keepsSecrets(t, s, &person{email: address})
	}
}

// TestMailThatAnOldConsumerCouldNotSend: it neither acks nor nacks it. As soon as it is gone ours sends it, once, whether
// the mail carries an id or not.
func TestMailThatAnOldConsumerCouldNotSend(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	old := oldConsumer(t, s)
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Reply(451).Times(2))
	unnamed := system.Email()
	previousMail(t, s, previousBody(unnamed, "[]"))
	old.WaitLine(t, `"message":"the mail was not sent"}`) // the line has no id, as the mail
	p := register(t, s)
	old.WaitLine(t, `"message":"the mail was not sent"`, mailEvent(t, s, p))
	system.Soon(t, func() error { // the management database lags
		queues, err := s.Queues()
		if err != nil {
			return err
		}
		for _, q := range queues {
			if q.Name == fanoutQueue && q.Messages == 2 {
				return nil
			}
		}
		return fmt.Errorf("none of %+v is what it holds", queues)
	})
	old.Terminate(t)
	for _, email := range []string{unnamed, p.email} {
		system.Soon(t, func() error {
			if n := len(s.Mailbox.Accepted(email)); n != 1 {
				return fmt.Errorf("%d mails", n)
			}
			return nil
		})
		require.Empty(t, s.Mailbox.Accepted(email)[0].Header.Get("X-Sent-By"), "by ours")
	}
	system.Soon(t, func() error {
		return errors.Join(lengthIs(s, fanoutQueue, 0), lengthIs(s, "identity.legacy", 0))
	})
	for _, email := range []string{unnamed, p.email} {
		require.Len(t, s.Mailbox.Accepted(email), 1)
	}
	require.Equal(t, 2, s.Count("SELECT count(*) FROM mail_deliveries WHERE state = 'accepted'"), "the ledger has both: one of them since it was moved")
}

// TestMailOfThePreviousReleaseInHandWhenTheConnectionIsCut: it has no id, and the broker hands it to the other consumer
// while the first is sending it.
func TestMailOfThePreviousReleaseInHandWhenTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{Consumers: 2, Env: inPhase("prepare", "SMTP_TIMEOUT", "12s")})
	for _, c := range s.Consumers {
		c.WaitLine(t, `"queue":"smtp_send_email"`, "found")
	}
	s.Mailbox.Script(smtptest.At(smtptest.EndOfData).Delay(9 * time.Second).Times(1))
	to := system.Email()
	previousMail(t, s, previousBody(to, "[]"))
	s.Mailbox.WaitReached(smtptest.EndOfData, 1)
	system.RabbitMQCtl(t, "close_all_connections", "--vhost", path.Base(s.BrokerURL), "cut by a test")
	system.Soon(t, func() error {
		for _, c := range s.Consumers {
			if strings.Contains(strings.Join(c.Log.Lines(0), "\n"), `"outcome":"duplicate"`) {
				return nil
			}
		}
		return errors.New("nobody has recognised it")
	})
	oneMail(t, s, to)
	system.Soon(t, func() error { return lengthIs(s, "identity.legacy", 0) })
}

// TestLateFanoutCopy: what a pod of an earlier phase has left in the outbox is sent in complete, although nothing of the
// old topology is there any more.
func TestLateFanoutCopy(t *testing.T) {
	t.Parallel()
	nowhere := inPhase("prepare", "RABBITMQ_URL", "amqp://nobody:nothing@127.0.0.1:1/")
	s := system.Start(t, system.Options{APIs: 1, Env: nowhere})
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

// TestFanoutCleanup: the old topology goes when nobody needs it, and not a moment before.
func TestFanoutCleanup(t *testing.T) {
	t.Parallel()
	// Nobody registers before: five minutes would have to pass after the last fanout copy.
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("dual")})
	management := eventtest.LongUp(t, os.Getenv("RABBITMQ_MANAGEMENT_URL"))
	cleanup := func(args ...string) system.Output {
		return s.Command([]string{"RABBITMQ_MANAGEMENT_URL=" + management}, system.Consumer, append([]string{"fanout", "cleanup"}, args...)...)
	}
	out := cleanup()
	require.NotZero(t, out.Code)
	require.Contains(t, out.Stdout+out.Stderr, "dual")

	for _, p := range s.Processes() {
		p.Terminate(t)
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

	system.Soon(t, func() error { // the management database lags
		if out := cleanup("--dry-run"); out.Code != 0 {
			return errors.New(out.Stdout + out.Stderr)
		}
		return nil
	})
	require.Zero(t, s.QueueLength(fanoutQueue), "it is still there")
	out = cleanup()
	require.Zero(t, out.Code, out.Stderr)
	require.Contains(t, out.Stdout, fanoutQueue)
	require.Contains(t, out.Stdout, fanoutExchange)
	require.Zero(t, cleanup().Code, "there is nothing left to do")

	p := registered(t, s)
	p.verify(t)
	require.Len(t, s.Mailbox.All(p.email), 1)
	out = s.Command(nil, system.Consumer, "fanout", "status")
	require.Zero(t, out.Code, out.Stdout+out.Stderr)
}

// TestCodeOfThePreviousRelease: who registered at a pod of the previous release verifies and logs in at one of ours.
func TestCodeOfThePreviousRelease(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{APIs: 1, Consumers: 1, Env: inPhase("prepare")})
	hash, err := bcrypt.GenerateFromPassword([]byte(system.Password), bcrypt.MinCost)
	require.NoError(t, err)
	enroll := func(age string) *person {
		p := &person{email: system.Email(), client: s.Client(), code: "042317"}
		_, err := s.DB.ExecContext(t.Context(), `INSERT INTO users (username, password_hash, is_active, otp, otp_expired_at, created_at, updated_at)
			VALUES ($1, $2, false, $3, now() + interval '24 hours' - $4::interval, now(), now())`, p.email, string(hash), p.code, age)
		require.NoError(t, err)
		p.id = userID(t, s, p.email)
		return p
	}
	p := enroll("2 minutes")
	refused(t, http.StatusBadRequest, 20005)(p.client.Verify(t.Context(), p.email, "111111"))
	p.verify(t)
	want(t, http.StatusOK)(p.client.Login(t.Context(), p.email, system.Password, false))
	state(t, s, p.id, "trialing")

	late := enroll("11 minutes")
	answer, err := late.client.Verify(t.Context(), late.email, late.code)
	require.NoError(t, err)
	require.GreaterOrEqual(t, answer.Status, http.StatusBadRequest, "a code lives ten minutes, whoever made it")
}
