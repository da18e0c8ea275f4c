//go:build e2e

package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := harness.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// want returns a check of a request's two results: a response with this status, in the envelope.
func want(t *testing.T, status int) func(harness.Answer, error) harness.Answer {
	return func(a harness.Answer, err error) harness.Answer {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, status, a.Status, "%s", a.Raw)
		if status < http.StatusBadRequest {
			require.Zero(t, a.ErrorCode, "%s", a.Raw)
			require.Equal(t, "Success", a.Message)
		} else {
			require.NotEmpty(t, a.Message)
			require.Empty(t, a.Data, "an error shows no data")
		}
		return a
	}
}

// refused is want for an error of a domain.
func refused(t *testing.T, status, errorCode int) func(harness.Answer, error) harness.Answer {
	return func(a harness.Answer, err error) harness.Answer {
		t.Helper()
		want(t, status)(a, err)
		require.Equal(t, errorCode, a.ErrorCode, "%s", a.Raw)
		return a
	}
}

// person is a registered user. The code is that of the mail, empty until it has been read.
type person struct {
	email, id, code string
	client          *harness.Client
}

// register registers a new person.
func register(t *testing.T, s *harness.TestSystem) *person {
	t.Helper()
	p := &person{email: harness.Email(), client: s.Client()}
	want(t, http.StatusCreated)(p.client.Register(t.Context(), p.email, harness.Password))
	p.id = userID(t, s, p.email)
	return p
}

// registered registers a person and reads their mail.
func registered(t *testing.T, s *harness.TestSystem) *person {
	t.Helper()
	p := register(t, s)
	p.readMail(t, s)
	return p
}

// verified registers a person and verifies their address.
func verified(t *testing.T, s *harness.TestSystem) *person {
	t.Helper()
	p := registered(t, s)
	p.verify(t)
	return p
}

func (p *person) readMail(t *testing.T, s *harness.TestSystem) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	var err error
	p.code, err = s.Mailbox.Code(ctx, p.email)
	require.NoError(t, err)
}

func (p *person) verify(t *testing.T) {
	t.Helper()
	want(t, http.StatusOK)(p.client.Verify(t.Context(), p.email, p.code))
}

// wrongCode is six digits that are not the person's.
func (p *person) wrongCode() string {
	if p.code == "111111" {
		return "222222"
	}
	return "111111"
}

func userID(t *testing.T, s *harness.TestSystem, email string) (id string) {
	t.Helper()
	require.NoError(t, s.DB.QueryRowContext(t.Context(), "SELECT id FROM users WHERE username = $1", email).Scan(&id))
	return id
}

// subscriptionState waits until the user's hash in Redis has this status, and returns the hash.
func subscriptionState(t *testing.T, s *harness.TestSystem, userID, status string) (hash map[string]string) {
	t.Helper()
	harness.Soon(t, func() (err error) {
		hash, err = s.Redis.HGetAll(t.Context(), stateKey(userID)).Result()
		if err == nil && hash["status"] != status {
			err = fmt.Errorf("the hash of %s is %v, expected status %s", userID, hash, status)
		}
		return err
	})
	return hash
}

// oneMail waits for a mail to the address and checks that it is the only one.
func oneMail(t *testing.T, s *harness.TestSystem, email string) harness.Mail {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	_, err := s.Mailbox.Wait(ctx, email, 1)
	require.NoError(t, err, "%s", email)
	mails := s.Mailbox.All(email)
	require.Len(t, mails, 1, "mails to %s", email)
	return mails[0]
}

// ledgerHas waits until the ledger has n mails that meet the condition. A mail is in the inbox before it is recorded.
func ledgerHas(t *testing.T, s *harness.TestSystem, n int, condition string) {
	t.Helper()
	harness.Soon(t, func() error {
		if have := s.Count("SELECT count(*) FROM mail_deliveries WHERE " + condition); have != n {
			return fmt.Errorf("%d mails of the ledger are %s, expected %d", have, condition, n)
		}
		return nil
	})
}

// ledger returns the state and the error class of a mail.
func ledger(t *testing.T, s *harness.TestSystem, eventID string) (state, class string) {
	t.Helper()
	err := s.DB.QueryRowContext(t.Context(),
		"SELECT state, coalesce(error_class, '') FROM mail_deliveries WHERE event_id = $1", eventID).Scan(&state, &class)
	if !errors.Is(err, sql.ErrNoRows) {
		require.NoError(t, err)
	}
	return state, class
}

// mailEvent returns the id of the event that carries the person's newest code.
func mailEvent(t *testing.T, s *harness.TestSystem, p *person) (id string) {
	t.Helper()
	require.NoError(t, s.DB.QueryRowContext(t.Context(),
		"SELECT event_id FROM code_requests WHERE user_id = $1 ORDER BY code_at DESC LIMIT 1", p.id).Scan(&id))
	return id
}

// logsHideSecrets checks that no process has logged a secret of these people. A code counts only between characters
// that occur in no id or number, which six random digits would match by chance.
func logsHideSecrets(t *testing.T, s *harness.TestSystem, people ...*person) {
	t.Helper()
	never := []string{"otp_code", `"otp"`, harness.Password, "<html", "eyJ"} // eyJ begins every token
	var codes []string
	for _, p := range people {
		never = append(never, p.email)
		if p.code != "" {
			codes = append(codes, p.code)
		}
	}
	code := regexp.MustCompile(`(^|[^0-9a-f])(` + strings.Join(append(codes, "no code"), "|") + `)([^0-9a-f]|$)`)
	for _, p := range s.Processes() {
		for _, line := range p.Log.Lines(0) {
			require.False(t, code.MatchString(line), "%s logs a code: %s", p.Name, line)
			for _, secret := range never {
				require.NotContains(t, line, secret, "%s", p.Name)
			}
		}
	}
}

// dump returns everything in the database, one line per row, bytes in hexadecimal.
func dump(t *testing.T, s *harness.TestSystem) string {
	t.Helper()
	var all strings.Builder
	for _, table := range texts(t, s, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'") {
		for _, row := range texts(t, s, `SELECT t::text FROM "`+table+`" t`) {
			fmt.Fprintf(&all, "%s%s\n", table, row)
		}
	}
	return all.String()
}

// texts returns the single column of a query.
func texts(t *testing.T, s *harness.TestSystem, query string) (values []string) {
	t.Helper()
	rows, err := s.DB.QueryContext(t.Context(), query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var value string
		require.NoError(t, rows.Scan(&value))
		values = append(values, value)
	}
	require.NoError(t, rows.Err())
	return values
}

// hidesCode checks that a dump contains a code neither as text nor as bytes.
func hidesCode(t *testing.T, dump, code string) {
	t.Helper()
	require.NotRegexp(t, `(^|[^0-9a-f.])`+code+`([^0-9a-f]|$)`, dump)
	require.NotContains(t, dump, fmt.Sprintf("%x", code))
}

// rabbitmqctl runs the broker's own tool.
func rabbitmqctl(t *testing.T, args ...string) {
	t.Helper()
	require.NoError(t, harness.RabbitMQCtl(context.WithoutCancel(t.Context()), args...))
}

// cutConnections has the broker cut every connection to the virtual host that it knows of, and returns their names. It
// learns of a new one within some seconds.
func cutConnections(t *testing.T, s *harness.TestSystem) (cut []string) {
	t.Helper()
	var connections []struct {
		Name       string `json:"name"`
		Properties struct {
			Name string `json:"connection_name"`
		} `json:"client_properties"`
	}
	ctx := t.Context()
	require.NoError(t, harness.Manage(ctx, http.MethodGet, "/api/vhosts/"+s.VirtualHost+"/connections", nil, &connections))
	for _, c := range connections {
		err := harness.Manage(ctx, http.MethodDelete, "/api/connections/"+url.PathEscape(c.Name), nil, nil)
		if !errors.Is(err, harness.ErrNotFound) { // closed meanwhile
			require.NoError(t, err)
		}
		cut = append(cut, c.Properties.Name)
	}
	return cut
}

// stateKey is the key of a user's subscription in Redis, spelled as another service would.
func stateKey(userID string) string { return "smap:sub:" + userID }
