//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

const trial = 14 * 24 * time.Hour

// TestRegistration follows people from the form to their trial.
func TestRegistration(t *testing.T) {
	t.Parallel()
	t.Run("a person's whole way", wholeWay)
	t.Run("the mail is in the language the person has chosen", language)
	t.Run("bad input is refused and leaves nothing behind", badInput)
}

// wholeWay walks a person's whole way on two apis and two consumers, and checks every step from outside.
func wholeWay(t *testing.T) {
	s := harness.New(t, harness.Options{APIs: 2, Consumers: 2})
	recorded := recordEvents(t, s)

	const traceID = "0af7651916cd43dd8448eb211c80319c"
	an := &person{email: harness.Email(), client: s.Client()}
	want(t, http.StatusCreated)(an.client.Register(t.Context(), an.email, harness.Password,
		"traceparent", "00-"+traceID+"-b7ad6b7169203331-01"))
	an.id = userID(t, s, an.email)
	refused(t, http.StatusForbidden, 20009)(an.client.Login(t.Context(), an.email, harness.Password, false))

	mail := oneMail(t, s, an.email)
	an.code = mail.Code()
	requested := recorded.wait("email.verification.requested", an.id)
	verificationEvent(t, requested, an, "en", traceID)
	require.Equal(t, requested.EventID+"@"+senderDomain, mail.MessageID)
	require.NotContains(t, mail.Subject, an.code, "mail servers log subjects")
	require.Contains(t, mail.HTML, an.code)
	require.Contains(t, mail.HTML, `lang="en"`)

	refused(t, http.StatusBadRequest, 20005)(an.client.Verify(t.Context(), an.email, an.wrongCode()))
	require.Equal(t, 1, s.Count("SELECT wrong_tries FROM code_requests WHERE user_id = $1", an.id))
	answer := want(t, http.StatusOK)(an.client.Verify(t.Context(), an.email, an.code))
	loginCookie(t, answer, 7200)
	refused(t, http.StatusConflict, 20006)(an.client.Verify(t.Context(), an.email, an.code)) // single use
	refused(t, http.StatusBadRequest, 20018)(s.Client().Verify(t.Context(), an.email, an.code))
	trialStarts(t, s, recorded, an)

	stranger := s.Client()
	want(t, http.StatusUnauthorized)(stranger.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	refused(t, http.StatusUnauthorized, 20004)(stranger.Login(t.Context(), an.email, "not the password", false))
	answer = want(t, http.StatusOK)(stranger.Login(t.Context(), strings.ToUpper(an.email), harness.Password, true))
	loginCookie(t, answer, 2592000)
	want(t, http.StatusOK)(stranger.Call(t.Context(), http.MethodGet, "/identity/authentication/me", nil))

	trialEnds(t, s, recorded, an)
	answer = want(t, http.StatusOK)(an.client.Call(t.Context(), http.MethodPost, "/authentication/logout", nil))
	require.Negative(t, answer.Cookie("smap_auth_token").MaxAge)
	want(t, http.StatusUnauthorized)(an.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))

	s.OutboxEmpty()
	hidesCode(t, dump(t, s), an.code)
	logsHideSecrets(t, s, an)
	logsCarryTrace(t, s, traceID, requested.EventID)
}

const senderDomain = "smap.local"

func verificationEvent(t *testing.T, e event, p *person, locale, traceID string) {
	t.Helper()
	envelope(t, e, "verification.requested")
	require.Regexp(t, "^00-"+traceID+"-[0-9a-f]{16}-01$", e.Headers["traceparent"])
	var data struct {
		UserID    string    `json:"user_id"`
		Recipient string    `json:"recipient"`
		OTPCode   string    `json:"otp_code"`
		Locale    string    `json:"locale"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	require.NoError(t, e.data(&data))
	require.Equal(t, p.id, data.UserID)
	require.Equal(t, p.email, data.Recipient)
	require.Equal(t, p.code, data.OTPCode)
	require.Equal(t, locale, data.Locale)
	sent, err := time.Parse(time.RFC3339, e.Timestamp)
	require.NoError(t, err)
	require.WithinDuration(t, sent.Add(10*time.Minute), data.ExpiresAt, time.Millisecond)
}

var (
	eventID   = regexp.MustCompile(`^evt_[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
)

// envelope checks what every event of this service has, and nothing else.
func envelope(t *testing.T, e event, action string) {
	t.Helper()
	var top, payload map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(e.Body, &top))
	require.Len(t, top, 3, "%s", e.Body)
	require.NoError(t, json.Unmarshal(top["payload"], &payload))
	require.Len(t, payload, 3, "%s", e.Body)
	require.Regexp(t, eventID, e.EventID)
	require.Regexp(t, timestamp, e.Timestamp)
	require.Equal(t, "identity", e.Payload.Service)
	require.Equal(t, action, e.Payload.Action)

	require.Equal(t, amqp.Persistent, e.DeliveryMode)
	require.Equal(t, "application/json", e.ContentType)
	require.Equal(t, e.EventID, e.MessageId)
	require.Equal(t, e.RoutingKey, e.Type)
	require.Equal(t, "identity", e.AppId)
	require.Empty(t, e.Expiration)
	sent, err := time.Parse(time.RFC3339, e.Timestamp)
	require.NoError(t, err)
	require.Equal(t, sent.Truncate(time.Second), e.Delivery.Timestamp.UTC())
}

func loginCookie(t *testing.T, a harness.Answer, age int) {
	t.Helper()
	c := a.Cookie("smap_auth_token")
	require.NotNil(t, c)
	require.NotEmpty(t, c.Value)
	require.Equal(t, age, c.MaxAge)
	require.Equal(t, "/", c.Path)
	require.True(t, c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
}

// subscriptionEvent is what all events of a subscription have in common; the hash repeats it.
type subscriptionEvent struct {
	Version        int64     `json:"version"`
	SubscriptionID string    `json:"subscription_id"`
	UserID         string    `json:"user_id"`
	PlanCode       string    `json:"plan_code"`
	Status         string    `json:"status"`
	PreviousStatus string    `json:"previous_status"`
	NewStatus      string    `json:"new_status"`
	Reason         string    `json:"cancellation_reason"`
	EffectiveUntil time.Time `json:"effective_until"`
	TrialStart     time.Time `json:"trial_start"`
	TrialEnd       time.Time `json:"trial_end"`
}

type subscription struct {
	ID          string    `json:"id"`
	UserID      string    `json:"user_id"`
	Status      string    `json:"status"`
	StartsAt    time.Time `json:"starts_at"`
	TrialEndsAt time.Time `json:"trial_ends_at"`
}

func trialStarts(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, p *person) {
	t.Helper()
	answer := want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodGet, "/authentication/me", nil))
	require.JSONEq(t, `{"id":"`+p.id+`","email":"`+p.email+`"}`, string(answer.Data))
	mine := mySubscription(t, p)
	require.Equal(t, p.id, mine.UserID)
	require.Equal(t, "trialing", mine.Status)
	require.Equal(t, trial, mine.TrialEndsAt.Sub(mine.StartsAt))

	e := recorded.wait("subscription.created", p.id)
	envelope(t, e, "created")
	require.NotContains(t, string(e.Body), p.email, "subscription events carry no personal data beyond ids")
	var data subscriptionEvent
	require.NoError(t, e.data(&data))
	require.Equal(t, int64(1), data.Version)
	require.Equal(t, mine.ID, data.SubscriptionID)
	require.Equal(t, "free", data.PlanCode)
	require.Equal(t, "trialing", data.Status)
	require.Equal(t, mine.StartsAt, data.TrialStart)
	require.Equal(t, mine.TrialEndsAt, data.TrialEnd)
	require.Equal(t, mine.TrialEndsAt, data.EffectiveUntil)
	hashAgrees(t, s, data, "trialing")
}

func mySubscription(t *testing.T, p *person) (mine subscription) {
	t.Helper()
	answer := want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodGet, "/subscriptions/me", nil))
	require.NoError(t, json.Unmarshal(answer.Data, &mine))
	return mine
}

// hashAgrees checks smap:sub:{user} against the event, and that it lives 30 days longer than the event says.
func hashAgrees(t *testing.T, s *harness.TestSystem, e subscriptionEvent, status string) {
	t.Helper()
	hash := subscriptionState(t, s, e.UserID, status)
	require.Equal(t, e.SubscriptionID, hash["subscription_id"])
	require.Equal(t, "free", hash["plan_code"])
	require.EqualValues(t, json.Number(hash["version"]), json.Number(jsonOf(t, e.Version)))
	until, err := time.Parse(time.RFC3339, hash["effective_until"])
	require.NoError(t, err)
	require.WithinDuration(t, e.EffectiveUntil, until, time.Millisecond)
	require.NotEmpty(t, hash["updated_at"])
	require.Len(t, hash, 6)
	life, err := s.Redis.TTL(t.Context(), stateKey(e.UserID)).Result()
	require.NoError(t, err)
	require.WithinDuration(t, e.EffectiveUntil.Add(30*24*time.Hour), time.Now().Add(life), 5*time.Second)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func trialEnds(t *testing.T, s *harness.TestSystem, recorded *eventRecorder, p *person) {
	t.Helper()
	mine := mySubscription(t, p)
	cancel := "/subscriptions/" + mine.ID + "/cancel"
	other := verified(t, s)
	refused(t, http.StatusNotFound, 130002)(other.client.Call(t.Context(), http.MethodPost, cancel, nil))
	want(t, http.StatusOK)(p.client.Call(t.Context(), http.MethodPost, cancel, map[string]string{"reason": "only looking"}))
	refused(t, http.StatusConflict, 130009)(p.client.Call(t.Context(), http.MethodPost, cancel, nil))
	require.Equal(t, "cancelled", mySubscription(t, p).Status, "it is in force until its end")

	e := recorded.wait("subscription.cancelled", p.id)
	envelope(t, e, "cancelled")
	var data subscriptionEvent
	require.NoError(t, e.data(&data))
	require.Greater(t, data.Version, int64(1))
	require.Equal(t, "trialing", data.PreviousStatus)
	require.Equal(t, "cancelled", data.NewStatus)
	require.Equal(t, "only looking", data.Reason)
	require.Equal(t, mine.TrialEndsAt, data.EffectiveUntil, "what was granted lasts until its end")
	hashAgrees(t, s, data, "cancelled")
}

// logsCarryTrace checks that one trace leads from the request to the mail.
func logsCarryTrace(t *testing.T, s *harness.TestSystem, traceID, eventID string) {
	t.Helper()
	var request, published, handled bool
	for _, p := range s.Processes() {
		for _, line := range p.Log.Lines(0) {
			traced := strings.Contains(line, `"trace_id":"`+traceID+`"`)
			request = request || traced && strings.Contains(line, `"route":"/authentication/register"`)
			published = published || traced && strings.Contains(line, eventID) && strings.Contains(line, "event published")
			handled = handled || traced && strings.Contains(line, eventID) && strings.Contains(line, `"outcome":"handled"`)
		}
	}
	require.True(t, request, "the request's line has its trace")
	require.True(t, published, "the relay's line has the trace of the request")
	require.True(t, handled, "the consumer's line has the trace of the request")
}

// language checks how a person chooses the language of their mail.
func language(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	for name, header := range map[string][]string{
		"by the front end":              {"lang", "vi"},
		"by the browser":                {"Accept-Language", "vi-VN,vi;q=0.9,en;q=0.5"},
		"the front end's word is first": {"lang", "vi", "Accept-Language", "en"},
	} {
		email := harness.Email()
		want(t, http.StatusCreated)(s.Client().Register(t.Context(), email, harness.Password, header...))
		mail := oneMail(t, s, email)
		require.Contains(t, mail.HTML, `lang="vi"`, name)
		require.NotEmpty(t, mail.Code(), name)
	}
}
