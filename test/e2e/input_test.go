//go:build e2e

package e2e

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// badInput checks that every refusal is in the envelope, names the problem, and leaves nothing behind.
func badInput(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1})
	recorded := recordEvents(t, s)
	taken := registered(t, s)
	recorded.wait("email.verification.requested", taken.id)
	waitLedger(t, s, 1)
	s.OutboxEmpty()
	before, events := dump(t, s), len(recorded.events(""))

	for name, test := range badRequests(taken) {
		t.Run(name, func(t *testing.T) {
			a := refused(t, test.status, test.code)(
				s.Client().Call(t.Context(), test.method, test.path, test.body, test.header...))
			require.Equal(t, "application/json", strings.ToLower(strings.Split(a.Header.Get("Content-Type"), ";")[0]))
			if test.field != "" {
				require.Contains(t, a.Errors, test.field)
			}
			for _, secret := range []string{harness.Password, taken.email, "sql", "goroutine"} {
				require.NotContains(t, a.Raw, secret)
			}
		})
	}

	// Wrong passwords are counted, and processes renew their rows.
	others := regexp.MustCompile(`(?m)^(limits|processes)\(.*\n`)
	require.Equal(t, others.ReplaceAllString(before, ""), others.ReplaceAllString(dump(t, s), ""), "nothing else is stored")
	require.Len(t, recorded.events(""), events, "nothing is published")
	require.Len(t, s.Mailbox.All(""), 1)
	a := refused(t, http.StatusBadRequest, 130006)(
		verified(t, s).client.Call(t.Context(), http.MethodPost, "/subscriptions/none/cancel", nil))
	require.NotEmpty(t, a.Message)
	logsHideSecrets(t, s, taken)
}

// badRequest is a request, and how it is refused. The field is the one that the response names.
type badRequest struct {
	method, path string
	body         any
	header       []string
	status, code int
	field        string
}

func badRequests(taken *person) map[string]badRequest {
	const route = "/authentication/register"
	good := map[string]any{"email": harness.Email(), "password": harness.Password}
	with := func(field string, value any) map[string]any {
		changed := maps.Clone(good)
		changed[field] = value
		return changed
	}
	return map[string]badRequest{
		"malformed JSON":            {"POST", route, `{"email":`, nil, 400, 20001, "body"},
		"not an object":             {"POST", route, `["email"]`, nil, 400, 20001, "body"},
		"two objects":               {"POST", route, `{"email":"a@example.com","password":"long enough"}{}`, nil, 400, 20001, "body"},
		"no body":                   {"POST", route, nil, nil, 400, 20001, "body"},
		"a number for a text":       {"POST", route, with("email", 7), nil, 400, 20001, "email"},
		"no password":               {"POST", route, with("password", ""), nil, 400, 20001, "password"},
		"short password":            {"POST", route, with("password", "seven77"), nil, 400, 20001, "password"},
		"endless password":          {"POST", route, with("password", strings.Repeat("x", 257)), nil, 400, 20001, "password"},
		"no address":                {"POST", route, with("email", ""), nil, 400, 20001, "email"},
		"no at sign":                {"POST", route, with("email", "somebody"), nil, 400, 20011, ""},
		"display name":              {"POST", route, with("email", "Some Body <some@example.com>"), nil, 400, 20011, ""},
		"two addresses":             {"POST", route, with("email", "a@example.com,b@example.com"), nil, 400, 20011, ""},
		"header injection":          {"POST", route, with("email", "a@example.com\r\nBcc: b@example.com"), nil, 400, 20011, ""},
		"header injection, bare":    {"POST", route, with("email", "a@example.com\nSubject: hello"), nil, 400, 20011, ""},
		"NUL in the address":        {"POST", route, with("email", "a\x00@example.com"), nil, 400, 20011, ""},
		"body over 64 KiB":          {"POST", route, with("full_name", strings.Repeat("x", 65<<10)), nil, 413, 413, ""},
		"wrong content type":        {"POST", route, good, []string{"Content-Type", "text/plain"}, 415, 415, ""},
		"a form":                    {"POST", route, "email=a", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, 415, ""},
		"unknown route":             {"POST", "/authentication/enrol", good, nil, 404, 404, ""},
		"unknown page":              {"GET", "/", nil, nil, 404, 404, ""},
		"wrong method":              {"GET", route, nil, nil, 405, 405, ""},
		"letters for a code":        {"POST", "/authentication/verify-otp", map[string]string{"email": taken.email, "otp": "abcdef"}, nil, 400, 20001, "otp"},
		"code of an unknown user":   {"POST", "/authentication/verify-otp", map[string]string{"email": harness.Email(), "otp": "123456"}, nil, 400, 20018, ""},
		"login of an unknown user":  {"POST", "/authentication/login", good, nil, 401, 20004, ""},
		"resend to an unknown user": {"POST", "/authentication/send-otp", good, nil, 401, 20004, ""},
		"forged token":              {"GET", "/authentication/me", nil, []string{"Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."}, 401, 401, ""},
		"cancel without a session":  {"POST", "/subscriptions/none/cancel", nil, nil, 401, 401, ""},
	}
}
