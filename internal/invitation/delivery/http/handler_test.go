package http_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
	delivery "github.com/smap-platform/identity/internal/invitation/delivery/http"
	"github.com/smap-platform/identity/internal/invitation/usecase"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var _ delivery.Invitations = (*usecase.UseCase)(nil)

const (
	userID  = "019c1000-0000-7000-8000-000000000001"
	batchID = "proj_019c1000-0000-7000-8000-000000000002"
)

// invitations returns what it is given and remembers its arguments.
type invitations struct {
	rejected string // JSON; written as the use case does
	session  invitation.Session
	err      error

	called   string
	actor    invitation.Actor
	upload   invitation.Upload
	found    []foundLine
	count    int
	batch    string
	token    string
	password string
	client   invitation.Client
	reads    int
	peak     uint64 // bytes on the heap, at most, while a large upload was read
}

func (i *invitations) MayInvite(actor invitation.Actor) error {
	if !actor.Admin {
		return invitation.ErrForbidden
	}
	return nil
}

func (i *invitations) Invite(_ context.Context, actor invitation.Actor, u invitation.Upload) (invitation.Receipt, error) {
	i.called, i.actor, i.upload = "Invite", actor, u
	if i.reads == 0 {
		i.reads = 2
	}
	for range i.reads { // an upload is read twice
		i.found, i.count = nil, 0
		err := u.Addresses.Each(func(line int, address string) error {
			if i.count++; i.count <= 10 {
				i.found = append(i.found, foundLine{line, address})
			}
			if i.count%10_000 == 0 {
				i.measure()
			}
			return nil
		})
		if err != nil {
			return invitation.Receipt{}, err
		}
		i.measure()
	}
	zip := gzip.NewWriter(u.Rejected)
	_, _ = io.WriteString(zip, i.rejected)
	_ = zip.Close()
	return invitation.Receipt{BatchID: batchID, Accepted: 2}, i.err
}

func (i *invitations) measure() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	i.peak = max(i.peak, m.HeapAlloc)
}

func (i *invitations) Cancel(_ context.Context, actor invitation.Actor, batch string) (int64, error) {
	i.called, i.actor, i.batch = "Cancel", actor, batch
	return 7, i.err
}

func (i *invitations) Accept(
	_ context.Context, token, password string, client invitation.Client,
) (invitation.Session, error) {
	i.called, i.token, i.password, i.client = "Accept", token, password, client
	return i.session, i.err
}

// newServer serves the routes with their limits. The cookie "role" stands for a login, of the user in the cookie "user".
func newServer(i delivery.Invitations) *echo.Echo {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), Routes: delivery.Limits()})
	delivery.Register(e.Group(""), i, login{}, func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			role, err := c.Cookie("role")
			if err != nil || role.Value == "" {
				return invitation.ErrUnauthenticated
			}
			subject := userID
			if user, err := c.Cookie("user"); err == nil {
				subject = user.Value
			}
			httpserver.SetPrincipal(c, httpserver.Principal{Subject: subject, Role: role.Value})
			return next(c)
		}
	})
	return e
}

// login knows clients by their address.
type login struct{}

func (login) Client(c echo.Context) invitation.Client { return c.Request().RemoteAddr }

func (login) SetLogin(c echo.Context, s invitation.Session) {
	c.SetCookie(&http.Cookie{Name: "login", Value: s.Token, MaxAge: int(s.Lifetime / time.Second)})
}

func serve(i delivery.Invitations, r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	newServer(i).ServeHTTP(w, r)
	return w.Result()
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func as(role string, r *http.Request) *http.Request {
	r.AddCookie(&http.Cookie{Name: "role", Value: role})
	return r
}

func upload(contentType, body string) *http.Request {
	r := as("ADMIN", post("/users/invitations", body))
	r.Header.Set("Content-Type", contentType)
	return r
}

const form = "multipart/form-data; boundary=b"

// part returns one field of a form.
func part(file, contentType, content string) string {
	header := `Content-Disposition: form-data; name="file"`
	if file != "" {
		header += `; filename="` + file + `"`
	}
	return "--b\r\n" + header + "\r\nContent-Type: " + contentType + "\r\n\r\n" + content + "\r\n"
}

func requireResponse(t *testing.T, response *http.Response, status int, want string) {
	t.Helper()
	got, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, status, response.StatusCode, string(got))
	require.JSONEq(t, want, string(got))
}

func TestInvite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ contentType, body string }{
		"JSON":                    {"application/json", `["a@x.vn","b@x.vn"]`},
		"CSV":                     {"text/csv; charset=utf-8; header=present", "a@x.vn\nb@x.vn\n"},
		"CSV as Windows calls it": {"application/vnd.ms-excel", "a@x.vn\nb@x.vn\n"},
		"a form":                  {form, part("", "", "a field") + part("list.csv", "text/csv", "a@x.vn\nb@x.vn\n") + "--b--"},
		"a form, known by its name": {form,
			part("LIST.CSV", "application/octet-stream", "a@x.vn\nb@x.vn\n") + part("b.csv", "", "c@x.vn") + "--b--"},
		"a form, JSON": {form, part("list.json", "application/json", `["a@x.vn","b@x.vn"]`) + "--b--"},
	} {
		t.Run("accepts "+name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{rejected: `[{"line":1,"address":"x","reason":"invalid"}]`}
			r := upload(tc.contentType, tc.body)
			r.Header.Set("Idempotency-Key", "a key")
			r.Header.Set("lang", "vi")
			response := serve(i, r)
			require.Equal(t, "application/json", response.Header.Get("Content-Type"))
			requireResponse(t, response, http.StatusAccepted, `{"error_code":0,"message":"Success","data":{"project_id":"`+batchID+
				`","accepted":2,"rejected":[{"line":1,"address":"x","reason":"invalid"}]}}`)
			require.Equal(t, invitation.Actor{UserID: userID, Admin: true}, i.actor)
			require.Equal(t, []foundLine{{1, "a@x.vn"}, {2, "b@x.vn"}}, i.found)
			require.Equal(t, "a key", i.upload.IdempotencyKey)
			require.Equal(t, "vi", i.upload.Locale)
			require.Len(t, i.upload.Digest, 32)
		})
	}
	t.Run("digests all that was sent", func(t *testing.T) {
		t.Parallel()
		digest := func(contentType, body string) string {
			i := &invitations{rejected: "[]"}
			require.Equal(t, http.StatusAccepted, serve(i, upload(contentType, body)).StatusCode)
			require.Empty(t, i.upload.IdempotencyKey)
			return string(i.upload.Digest)
		}
		first := digest("text/csv", "a")
		require.Equal(t, first, digest("text/csv;charset=utf-8", "a"))
		require.NotEqual(t, first, digest("text/csv", "a\n"))
		require.Equal(t, first, digest("application/vnd.ms-excel", "a"))
		require.Equal(t, first, digest(form, part("a.csv", "", "a")+"--b--"), "another boundary is no other list")
		require.NotEqual(t, digest("text/csv", "[]"), digest("application/json", "[]"), "read in another way it is another list")
	})
	for want, err := range map[string]error{
		`{"error_code":20017,"message":"This Idempotency-Key belongs to another upload; use a new one"}`: invitation.ErrKeyReused,
		`{"error_code":403,"message":"Only an administrator may do this"}`:                               invitation.ErrForbidden,
		`{"error_code":500,"message":"Internal server error"}`:                                           errors.New("secret"),
	} {
		t.Run("responds with the use case's error: "+err.Error(), func(t *testing.T) {
			t.Parallel()
			got, err := io.ReadAll(serve(&invitations{err: err}, upload("text/csv", "a")).Body)
			require.NoError(t, err)
			require.JSONEq(t, want, string(got))
		})
	}
	// The report is broken behind what has been sent already.
	t.Run("cuts off a response that cannot be finished", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(newServer(&brokenReport{}))
		defer server.Close()
		r, err := http.NewRequest(http.MethodPost, server.URL+"/users/invitations", strings.NewReader("a"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "text/csv")
		response, err := http.DefaultClient.Do(as("ADMIN", r))
		if err == nil {
			defer response.Body.Close()
			_, err = io.ReadAll(response.Body)
		}
		require.Error(t, err)
	})
}

type brokenReport struct{ invitations }

func (*brokenReport) Invite(_ context.Context, _ invitation.Actor, u invitation.Upload) (invitation.Receipt, error) {
	zip := gzip.NewWriter(u.Rejected)
	_, _ = io.WriteString(zip, strings.Repeat("x", 100_000))
	_ = zip.Flush() // and no end
	return invitation.Receipt{}, nil
}

func TestInviteRefuses(t *testing.T) {
	t.Parallel()
	body := func(problem string) string {
		return `{"error_code":20016,"message":"The list of addresses cannot be used","errors":{"body":"` + problem + `"}}`
	}
	const noFile = `{"error_code":20016,"message":"The list of addresses cannot be used","errors":{"body":"is not a form with one file; send the file as a field of multipart/form-data"}}`
	const badKey = `{"error_code":20001,"message":"The request is not valid","errors":{"Idempotency-Key":"must be 1 to 200 printable characters"}}`
	for name, tc := range map[string]struct {
		cookie, contentType, body string
		keys                      []string
		status                    int
		answer                    string
		asked                     bool
	}{
		"an unknown client": {contentType: "text/csv", status: 401, answer: `{"error_code":401,"message":"Please log in"}`},
		"a user": {cookie: "USER", contentType: "text/csv", status: 403,
			answer: `{"error_code":403,"message":"Only an administrator may do this"}`},
		"another type": {cookie: "ADMIN", contentType: "text/plain", status: 415,
			answer: `{"error_code":415,"message":"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}`},
		"no type":               {cookie: "ADMIN", status: 415, answer: `{"error_code":415,"message":"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}`},
		"a form without a file": {cookie: "ADMIN", contentType: form, body: part("", "", "a@x.vn") + "--b--", status: 400, answer: noFile},
		"a form that is cut":    {cookie: "ADMIN", contentType: form, body: part("a.csv", "text/csv", "a@x.vn"), status: 400, answer: noFile},
		"a form of many fields": {cookie: "ADMIN", contentType: form, body: strings.Repeat(part("", "", "x"), 11) +
			part("a.csv", "text/csv", "a@x.vn") + "--b--", status: 400, answer: noFile},
		"a form with a picture": {cookie: "ADMIN", contentType: form, body: part("a.png", "image/png", "x") + "--b--", status: 415,
			answer: `{"error_code":415,"message":"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}`},
		"an empty key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{""}, status: 400, answer: badKey},
		"a long key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{strings.Repeat("k", 201)}, status: 400,
			answer: badKey},
		"an unprintable key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{"ấ"}, status: 400, answer: badKey},
		"two keys":           {cookie: "ADMIN", contentType: "text/csv", keys: []string{"a", "b"}, status: 400, answer: badKey},
		"no list": {cookie: "ADMIN", contentType: "application/json", body: `{}`, status: 400,
			answer: body("is not one JSON list of strings"), asked: true},
		"Latin-1": {cookie: "ADMIN", contentType: "application/json", body: "[\"a@example.com\",\"p\xe4\"]", status: 400,
			answer: body("is not UTF-8, or escapes half of a surrogate pair"), asked: true},
		"half a pair": {cookie: "ADMIN", contentType: "application/json", body: `["\ud800@example.com"]`, status: 400,
			answer: body("is not UTF-8, or escapes half of a surrogate pair"), asked: true},
		"an open quote": {cookie: "ADMIN", contentType: "text/csv", body: `a,"`, status: 400,
			answer: body("has a quote in line 1 that is not closed"), asked: true},
		"too large": {cookie: "ADMIN", contentType: "text/csv", body: strings.Repeat("x", invitation.MaxUploadBytes+1),
			status: 413, answer: `{"error_code":413,"message":"The body is too large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{}
			r := as(tc.cookie, post("/users/invitations", tc.body))
			r.Header.Set("Content-Type", tc.contentType)
			for _, key := range tc.keys {
				r.Header.Add("Idempotency-Key", key)
			}
			requireResponse(t, serve(i, r), tc.status, tc.answer)
			require.Equal(t, tc.asked, i.called != "")
		})
	}
}

// TestInviteMemory: whatever is sent, no more than a small part of it is in memory.
func TestInviteMemory(t *testing.T) {
	const size = invitation.MaxUploadBytes - 10
	// What is measured is what is held, not what the collector has not come to yet.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for name, tc := range map[string]struct {
		contentType, begin, piece, end string
		count                          int
	}{
		"addresses":        {"application/json", `["a@x.vn"`, `,"0123456789abcdef@example.com"`, `]`, 0},
		"one string":       {"application/json", `["`, `0123456789abcdef`, `"]`, 1},
		"escapes":          {"application/json", `["`, `\u1234\n`, `"]`, 1},
		"spaces":           {"application/json", `["a"`, " \n", `]`, 1},
		"one number":       {"application/json", `["a",`, `1234567890123456`, `]`, 1},
		"one quoted field": {"text/csv", `"`, `0123456789abcdef`, `"`, 1},
		"another field":    {"text/csv", `a,"`, `0123456789abcde` + "\n", `"`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := &invitations{}
			runtime.GC()
			before.measure()
			i := &invitations{rejected: "[]", reads: 1}
			pieces := (size - len(tc.begin) - len(tc.end)) / len(tc.piece) / 1024
			r := as("ADMIN", httptest.NewRequest(http.MethodPost, "/users/invitations", io.MultiReader(
				strings.NewReader(tc.begin), &repeated{piece: strings.Repeat(tc.piece, 1024), left: pieces * len(tc.piece) * 1024}, strings.NewReader(tc.end),
			)))
			r.Header.Set("Content-Type", tc.contentType)
			response := serve(i, r)
			require.Contains(t, []int{http.StatusAccepted, http.StatusBadRequest}, response.StatusCode)
			if tc.count != 0 {
				require.Equal(t, tc.count, i.count)
			}
			i.measure()
			require.Less(t, i.peak, before.peak+12<<20)
		})
	}
}

// repeated is a body that is never in memory as a whole: left bytes of one piece after the other.
type repeated struct {
	piece string
	at    int
	left  int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.piece[r.at:])
	r.at = (r.at + n) % len(r.piece)
	r.left -= n
	return n, nil
}

func TestInviteDisk(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	for _, i := range []*invitations{{rejected: "[]"}, {err: errors.New("broken")}} {
		serve(i, upload("text/csv", "a"))
		serve(i, upload("text/csv", strings.Repeat("x", invitation.MaxUploadBytes+1)))
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	t.Setenv("TMPDIR", folder+"/missing")
	require.Equal(t, http.StatusInternalServerError, serve(&invitations{}, upload("text/csv", "a")).StatusCode)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	t.Run("returns how many are cancelled", func(t *testing.T) {
		t.Parallel()
		i := &invitations{}
		requireResponse(t, serve(i, as("ADMIN", post("/users/invitations/"+batchID+"/cancel", ""))), http.StatusOK,
			`{"error_code":0,"message":"Success","data":{"project_id":"`+batchID+`","cancelled":7}}`)
		require.Equal(t, &invitations{
			called: "Cancel", actor: invitation.Actor{UserID: userID, Admin: true}, batch: batchID,
		}, i)
	})
	t.Run("leaves the rules to the use case", func(t *testing.T) {
		t.Parallel()
		i := &invitations{err: invitation.ErrBatchNotFound}
		requireResponse(t, serve(i, as("ADMIN", post("/users/invitations/x/cancel", ""))), http.StatusNotFound,
			`{"error_code":20015,"message":"There are no such invitations"}`)
	})
	t.Run("is for administrators", func(t *testing.T) {
		t.Parallel()
		i := &invitations{}
		requireResponse(t, serve(i, as("USER", post("/users/invitations/x/cancel", ""))), http.StatusForbidden,
			`{"error_code":403,"message":"Only an administrator may do this"}`)
		require.Empty(t, i.called)
	})
	t.Run("needs a login", func(t *testing.T) {
		t.Parallel()
		requireResponse(t, serve(&invitations{}, post("/users/invitations/x/cancel", "")), http.StatusUnauthorized,
			`{"error_code":401,"message":"Please log in"}`)
	})
}

func TestAccept(t *testing.T) {
	t.Parallel()
	const good = `{"token":"t","password":"correct horse"}`
	t.Run("logs in", func(t *testing.T) {
		t.Parallel()
		session := invitation.Session{Token: "signed", Lifetime: 2 * time.Hour}
		i := &invitations{session: session}
		response := serve(i, post("/authentication/accept-invitation", good))
		requireResponse(t, response, http.StatusOK, `{"error_code":0,"message":"Success"}`)
		require.Equal(t, &invitations{
			session: session, called: "Accept", token: "t", password: "correct horse", client: "192.0.2.1:1234",
		}, i)
		require.Equal(t, []string{"login=signed; Max-Age=7200"}, response.Header["Set-Cookie"])
	})
	t.Run("limits each client", func(t *testing.T) {
		t.Parallel()
		e := newServer(&invitations{})
		accept := func(address string) int {
			w, r := httptest.NewRecorder(), post("/authentication/accept-invitation", good)
			r.RemoteAddr = address
			e.ServeHTTP(w, r)
			return w.Code
		}
		for range 60 {
			require.Equal(t, http.StatusOK, accept("203.0.113.7:1"))
		}
		require.Equal(t, http.StatusTooManyRequests, accept("203.0.113.7:1"))
		require.Equal(t, http.StatusOK, accept("198.51.100.1:1"))
	})
	for name, tc := range map[string]struct {
		body   string
		err    error
		status int
		answer string
	}{
		"nothing": {`{}`, nil, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"token":"is required","password":"is required"}}`},
		"an unknown field": {`{"token":"t","password":"correct horse","email":"a"}`, nil, 400,
			`{"error_code":20001,"message":"The request is not valid","errors":{"email":"is not known"}}`},
		"an invalid token": {good, invitation.ErrInvalid, 400,
			`{"error_code":20012,"message":"This invitation is not valid; ask whoever invited you"}`},
		"a used token": {good, invitation.ErrUsed, 409,
			`{"error_code":20013,"message":"This invitation has been used already; please log in"}`},
		"an expired token": {good, invitation.ErrExpired, 400,
			`{"error_code":20014,"message":"This invitation has expired; register, or ask whoever invited you"}`},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{err: tc.err, session: invitation.Session{Lifetime: time.Hour}}
			response := serve(i, post("/authentication/accept-invitation", tc.body))
			requireResponse(t, response, tc.status, tc.answer)
			require.Equal(t, tc.err != nil, i.called != "")
			require.Empty(t, response.Cookies())
		})
	}
}
