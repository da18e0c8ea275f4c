package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
)

// surfer is a browser of its own, in a network of its own.
type surfer struct {
	*program
	client  *http.Client
	network string
}

func (p *program) surfer(t *testing.T, network string) *surfer {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &surfer{p, &http.Client{Jar: jar}, network}
}

// post returns the response and what of it a person, or a program, could tell apart.
func (s *surfer) post(t *testing.T, path string, body fields) (status, code int, transcript string) {
	t.Helper()
	response, answer := s.do(t, http.MethodPost, path, body)
	var envelope struct {
		ErrorCode int `json:"error_code"`
	}
	require.NoError(t, json.Unmarshal(answer, &envelope), string(answer))
	random := regexp.MustCompile(`[A-Za-z0-9_-]{43}|\d+ seconds`)
	var header []string
	for name, values := range response.Header {
		switch name {
		case "Date", "X-Request-Id", "Retry-After", "Traceparent":
			values = []string{"…"}
		}
		header = append(header, fmt.Sprintf("%s: %s", name, strings.Join(values, " | ")))
	}
	slices.Sort(header)
	transcript = fmt.Sprintf("%s %d\n%s\n%s", path, response.StatusCode, strings.Join(header, "\n"), answer)
	return response.StatusCode, envelope.ErrorCode, random.ReplaceAllString(transcript, "…")
}

// send makes a request and returns the status and the body of the response.
func (s *surfer) send(t *testing.T, method, path string, body fields) (status int, answer []byte) {
	t.Helper()
	response, answer := s.do(t, method, path, body)
	return response.StatusCode, answer
}

// do makes a request and checks it against the contract. The body of the response has been read.
func (s *surfer) do(t *testing.T, method, path string, body fields) (response *http.Response, answer []byte) {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), method, s.APIURL()+path, bytes.NewReader(raw))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Forwarded-For", s.network)
	response, err = s.client.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	s.contract.Check(t, request, raw, response)
	answer, err = io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, answer
}

// newest returns the code of the newest of n mails.
func (s *surfer) newest(t *testing.T, email string, n int) string {
	t.Helper()
	mails, err := s.Inbox().Wait(t.Context(), email, n)
	require.NoError(t, err)
	return sixDigits.FindString(mails[0].Text)
}

func TestHijack(t *testing.T) {
	const email, theirs, mine = "victim@example.com", "the attacker's own", "the owner's own one"
	p := start(t, t.TempDir())
	attacker, owner := p.surfer(t, "203.0.113.7"), p.surfer(t, "198.51.100.7")
	register := func(s *surfer, password string) {
		status, _, _ := s.post(t, "/authentication/register", fields{"email": email, "password": password})
		require.Equal(t, http.StatusCreated, status)
	}
	verify := func(s *surfer, otp string) []int {
		status, code, _ := s.post(t, "/authentication/verify-otp", fields{"email": email, "otp": otp})
		return []int{status, code}
	}
	login := func(s *surfer, password string) []int {
		status, code, _ := s.post(t, "/authentication/login", fields{"email": email, "password": password})
		return []int{status, code}
	}

	register(attacker, theirs)
	first := owner.newest(t, email, 1)
	register(owner, mine)
	second := owner.newest(t, email, 2)
	register(attacker, theirs) // and once more, after the owner
	third := owner.newest(t, email, 3)

	for _, otp := range []string{first, third} {
		if otp != second { // once in a million
			require.Equal(t, []int{400, 20005}, verify(owner, otp), "the code of another's registration")
		}
	}
	require.Equal(t, []int{400, 20018}, verify(p.surfer(t, "198.51.100.7"), second), "another browser")
	require.Equal(t, []int{200, 0}, verify(owner, "\u00a0"+second[:3]+"-"+second[3:]))
	require.Equal(t, []int{409, 20006}, verify(owner, second), "sent twice")

	require.Equal(t, []int{200, 0}, login(owner, mine))
	require.Equal(t, []int{403, 20009}, login(attacker, theirs), "nothing tells the attacker that the owner has an account")
	require.Equal(t, []int{409, 20006}, verify(attacker, third), "not even a code from the owner's mailbox opens anything")
	require.Equal(t, []int{200, 0}, login(owner, mine))
	require.Equal(t, 1, p.number(t, "SELECT count(*) FROM subscriptions"))
}

// A second device takes over with the password; a code that five guesses have ended is replaced at once.
func TestSecondDevice(t *testing.T) {
	const email, password = "two.devices@example.com", "a long enough one"
	p := start(t, t.TempDir())
	laptop, phone := p.surfer(t, "203.0.113.7"), p.surfer(t, "198.51.100.7")
	credentials := fields{"email": email, "password": password}
	verify := func(s *surfer, otp string) []int {
		status, code, _ := s.post(t, "/authentication/verify-otp", fields{"email": email, "otp": otp})
		return []int{status, code}
	}
	status, _, _ := laptop.post(t, "/authentication/register", credentials)
	require.Equal(t, http.StatusCreated, status)
	first := laptop.newest(t, email, 1)
	require.Equal(t, []int{400, 20018}, verify(phone, first))
	status, _, _ = phone.post(t, "/authentication/send-otp", credentials)
	require.Equal(t, http.StatusOK, status)
	wrong := "000000"
	if first == wrong {
		wrong = "000001"
	}
	for range 5 {
		require.Equal(t, []int{400, 20005}, verify(phone, wrong), "the code on its way is the phone's as well")
	}
	require.Equal(t, []int{429, 20008}, verify(laptop, first))
	status, _, _ = phone.post(t, "/authentication/send-otp", credentials)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, []int{200, 0}, verify(laptop, laptop.newest(t, email, 2)))
}

// operator is the command line beside the program.
func (p *program) operator(t *testing.T) *Operator {
	t.Helper()
	o, err := NewOperator(t.Context(), config.Standalone, p.cfg, p.db, zerolog.Nop(), "a test")
	require.NoError(t, err)
	return o
}

// A person who registers an address learns nothing about it.
func TestTranscripts(t *testing.T) {
	p := start(t, t.TempDir())
	states := map[string]func(email string){
		"new": func(string) {},
		"unverified": func(email string) {
			status, _, _ := p.surfer(t, "192.0.2.1").post(t, "/authentication/register", fields{"email": email, "password": "their own one"})
			require.Equal(t, http.StatusCreated, status)
		},
		"active": func(email string) { p.verified(t, email, 1) },
		"disabled": func(email string) {
			p.verified(t, email, 1)
			require.NoError(t, p.operator(t).Disable(t.Context(), email, ""))
		},
		"deleted": func(email string) {
			p.verified(t, email, 1)
			require.NoError(t, p.operator(t).Delete(t.Context(), email, ""))
		},
		"invited": func(email string) {
			_, err := p.db.Exec(t.Context(), "inviting", `INSERT INTO users (id, username, role_hash, is_active, created_at, updated_at)
				VALUES ('85127bca-b50f-4bdf-9851-54dccc947b2d', $1, '', false, $2, $2)`, email, time.Now().UTC())
			require.NoError(t, err)
		},
	}
	transcripts := map[string]string{}
	for state, prepare := range states {
		email := state + "@example.com"
		prepare(email)
		s := p.surfer(t, fmt.Sprintf("203.0.%d.7", len(transcripts))) // a client has limits of its own
		credentials := fields{"email": email, "password": "a stranger's own"}
		var all []string
		say := func(path string, body fields) {
			_, _, transcript := s.post(t, path, body)
			all = append(all, transcript)
		}
		say("/authentication/verify-otp", fields{"email": email, "otp": "000000"}) // of a browser that asked for nothing
		say("/authentication/login", credentials)
		say("/authentication/send-otp", credentials)
		say("/authentication/register", credentials)
		say("/authentication/login", credentials)
		say("/authentication/login", fields{"email": email, "password": "another one"})
		say("/authentication/send-otp", credentials)
		for range 6 {
			say("/authentication/verify-otp", fields{"email": email, "otp": "abc123"})
			say("/authentication/verify-otp", fields{"email": email, "otp": "000000"})
		}
		say("/authentication/send-otp", credentials)
		for range 6 {
			say("/authentication/register", credentials)
		}
		say("/authentication/forgot-password", fields{"email": email})
		say("/authentication/reset-password", fields{"email": email, "otp": "000000", "password": "a stranger's own"})
		transcripts[state] = strings.ReplaceAll(strings.Join(all, "\n\n"), email, "…")
	}
	for state, transcript := range transcripts {
		want := strings.Split(transcripts["new"], "\n\n")
		for i, exchange := range strings.Split(transcript, "\n\n") {
			require.Equal(t, want[i], exchange, "%s, exchange %d", state, i)
		}
	}
	for _, refusal := range []string{"20018", "20004", "20009", "20005", "20008"} {
		require.Contains(t, transcripts["new"], refusal)
	}
	require.NotContains(t, transcripts["new"], "20003")
}
