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

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	delivery "github.com/smap-platform/identity/internal/authentication/delivery/http"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/pkg/httpserver"
)

var _ delivery.Invitations = (*usecase.Invitations)(nil)

const batchID = "proj_019c1000-0000-7000-8000-000000000002"

// invitations answers what it is told and remembers what it was asked.
type invitations struct {
	rejected string // JSON; written as the use case does
	session  authentication.Session
	err      error

	called   string
	actor    authentication.Actor
	upload   authentication.Upload
	found    []foundLine
	count    int
	batch    string
	token    string
	password string
	reads    int
	peak     uint64 // bytes on the heap, at most, while a large upload was read
}

func (i *invitations) Invite(_ context.Context, actor authentication.Actor, u authentication.Upload) (authentication.Invited, error) {
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
			return authentication.Invited{}, err
		}
		i.measure()
	}
	zip := gzip.NewWriter(u.Rejected)
	_, _ = io.WriteString(zip, i.rejected)
	_ = zip.Close()
	return authentication.Invited{BatchID: batchID, Accepted: 2}, i.err
}

func (i *invitations) measure() {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	i.peak = max(i.peak, m.HeapAlloc)
}

func (i *invitations) Cancel(_ context.Context, actor authentication.Actor, batch string) (int64, error) {
	i.called, i.actor, i.batch = "Cancel", actor, batch
	return 7, i.err
}

func (i *invitations) Accept(_ context.Context, token, password string) (authentication.Session, error) {
	i.called, i.token, i.password = "Accept", token, password
	return i.session, i.err
}

// serveInvitations sends r through a server that lets uploads in.
func serveInvitations(i *invitations, r *http.Request) *http.Response {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop(), BodyLimit: 64 << 20})
	delivery.RegisterInvitations(e.Group(""), i, options, delivery.Authenticate(roles{}, options.Name))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

// roles knows one token for each role.
type roles struct{}

func (roles) Check(token string) (authentication.Claims, error) {
	role := authentication.Role(token)
	if role != authentication.RoleAdmin && role != authentication.RoleUser {
		return authentication.Claims{}, authentication.ErrUnauthenticated
	}
	return authentication.Claims{UserID: userID, Role: role}, nil
}

func sendUpload(contentType, body string) *http.Request {
	r := withCookie(post("/users/invitations", body), "ADMIN")
	r.Header.Set("Content-Type", contentType)
	return r
}

func TestInvite(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ contentType, body string }{
		"JSON": {"application/json", `["a@x.vn","b@x.vn"]`},
		"CSV":  {"text/csv; charset=utf-8; header=present", "a@x.vn\nb@x.vn\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{rejected: `[{"line":1,"address":"x","reason":"invalid"}]`}
			r := sendUpload(tc.contentType, tc.body)
			r.Header.Set("Idempotency-Key", "a key")
			r.Header.Set("lang", "vi")
			response := serveInvitations(i, r)
			require.Equal(t, "application/json", response.Header.Get("Content-Type"))
			requireAnswer(t, response, http.StatusAccepted, `{"error_code":0,"message":"Success","data":{"project_id":"`+batchID+
				`","accepted":2,"rejected":[{"line":1,"address":"x","reason":"invalid"}]}}`)
			require.Equal(t, authentication.Actor{UserID: userID, Admin: true}, i.actor)
			require.Equal(t, []foundLine{{1, "a@x.vn"}, {2, "b@x.vn"}}, i.found)
			require.Equal(t, "a key", i.upload.IdempotencyKey)
			require.Equal(t, "vi", i.upload.Locale)
			require.Len(t, i.upload.Digest, 32)
		})
	}
}

func TestTheDigestIsOfAllThatWasSent(t *testing.T) {
	t.Parallel()
	digest := func(contentType, body string) string {
		i := &invitations{rejected: "[]"}
		require.Equal(t, http.StatusAccepted, serveInvitations(i, sendUpload(contentType, body)).StatusCode)
		require.Empty(t, i.upload.IdempotencyKey)
		return string(i.upload.Digest)
	}
	first := digest("text/csv", "a")
	require.Equal(t, first, digest("text/csv;charset=utf-8", "a"))
	require.NotEqual(t, first, digest("text/csv", "a\n"))
	require.NotEqual(t, digest("text/csv", "[]"), digest("application/json", "[]"), "read in another way it is another list")
}

func TestInviteIsRefused(t *testing.T) {
	t.Parallel()
	body := func(problem string) string {
		return `{"error_code":20016,"message":"The list of addresses cannot be used","errors":{"body":"` + problem + `"}}`
	}
	const badKey = `{"error_code":20001,"message":"The request is not valid","errors":{"Idempotency-Key":"must be 1 to 200 printable characters"}}`
	for name, tc := range map[string]struct {
		cookie, contentType, body string
		keys                      []string
		status                    int
		answer                    string
		asked                     bool
	}{
		"nobody": {contentType: "text/csv", status: 401, answer: `{"error_code":401,"message":"Please log in"}`},
		"a user": {cookie: "USER", contentType: "text/csv", status: 403,
			answer: `{"error_code":403,"message":"Only an administrator may do this"}`},
		"another type": {cookie: "ADMIN", contentType: "text/plain", status: 415,
			answer: `{"error_code":415,"message":"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}`},
		"no type":      {cookie: "ADMIN", status: 415, answer: `{"error_code":415,"message":"Send a list with Content-Type: application/json, or a table with Content-Type: text/csv"}`},
		"an empty key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{""}, status: 400, answer: badKey},
		"a long key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{strings.Repeat("k", 201)}, status: 400,
			answer: badKey},
		"an unprintable key": {cookie: "ADMIN", contentType: "text/csv", keys: []string{"ấ"}, status: 400, answer: badKey},
		"two keys":           {cookie: "ADMIN", contentType: "text/csv", keys: []string{"a", "b"}, status: 400, answer: badKey},
		"no list": {cookie: "ADMIN", contentType: "application/json", body: `{}`, status: 400,
			answer: body("is not one JSON list of strings"), asked: true},
		"an open quote": {cookie: "ADMIN", contentType: "text/csv", body: `a,"`, status: 400,
			answer: body("has a quote in line 1 that is not closed"), asked: true},
		"too large": {cookie: "ADMIN", contentType: "text/csv", body: strings.Repeat("x", authentication.MaxUploadBytes+1),
			status: 413, answer: `{"error_code":413,"message":"The body is too large"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{}
			r := withCookie(post("/users/invitations", tc.body), tc.cookie)
			r.Header.Set("Content-Type", tc.contentType)
			for _, key := range tc.keys {
				r.Header.Add("Idempotency-Key", key)
			}
			requireAnswer(t, serveInvitations(i, r), tc.status, tc.answer)
			require.Equal(t, tc.asked, i.called != "")
		})
	}
}

func TestErrorsOfInviting(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		`{"error_code":20017,"message":"This Idempotency-Key belongs to another upload; use a new one"}`: authentication.ErrKeyReused,
		`{"error_code":403,"message":"Only an administrator may do this"}`:                               authentication.ErrForbidden,
		`{"error_code":500,"message":"Internal server error"}`:                                           errors.New("secret"),
	} {
		response := serveInvitations(&invitations{err: err}, sendUpload("text/csv", "a"))
		got, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
}

// The list is broken behind what has been sent already: the client must see that the answer is not whole.
func TestHalfAnAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	i := &brokenReport{}
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	delivery.RegisterInvitations(e.Group(""), i, options, delivery.Authenticate(roles{}, options.Name))
	server := httptest.NewServer(e)
	defer server.Close()
	r, err := http.NewRequest(http.MethodPost, server.URL+"/users/invitations", strings.NewReader("a"))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "text/csv")
	response, err := http.DefaultClient.Do(withCookie(r, "ADMIN"))
	if err == nil {
		defer response.Body.Close()
		_, err = io.ReadAll(response.Body)
	}
	require.Error(t, err)
}

type brokenReport struct{ invitations }

func (*brokenReport) Invite(_ context.Context, _ authentication.Actor, u authentication.Upload) (authentication.Invited, error) {
	zip := gzip.NewWriter(u.Rejected)
	_, _ = io.WriteString(zip, strings.Repeat("x", 100_000))
	_ = zip.Flush() // and no end
	return authentication.Invited{}, nil
}

// Whatever is sent, no more than a small part of it is in memory.
func TestALargeUploadIsNotHeldInMemory(t *testing.T) {
	const size = authentication.MaxUploadBytes - 10
	// What is measured is what is held, not what the collector has not come to yet.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for name, tc := range map[string]struct {
		contentType, begin, piece, end string
		count                          int
	}{
		"addresses":        {"application/json", `["a@x.vn"`, `,"0123456789abcdef@example.com"`, `]`, 0},
		"one string":       {"application/json", `["`, `0123456789abcdef`, `"]`, 1},
		"one quoted field": {"text/csv", `"`, `0123456789abcdef`, `"`, 1},
		"another field":    {"text/csv", `a,"`, `0123456789abcde` + "\n", `"`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := &invitations{}
			runtime.GC()
			before.measure()
			i := &invitations{rejected: "[]", reads: 1}
			pieces := (size - len(tc.begin) - len(tc.end)) / len(tc.piece) / 1024
			r := withCookie(httptest.NewRequest(http.MethodPost, "/users/invitations", io.MultiReader(
				strings.NewReader(tc.begin), &repeated{piece: strings.Repeat(tc.piece, 1024), left: pieces * len(tc.piece) * 1024}, strings.NewReader(tc.end),
			)), "ADMIN")
			r.Header.Set("Content-Type", tc.contentType)
			response := serveInvitations(i, r)
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

func TestNothingIsLeftOnDisk(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	for _, i := range []*invitations{{rejected: "[]"}, {err: errors.New("broken")}} {
		serveInvitations(i, sendUpload("text/csv", "a"))
		serveInvitations(i, sendUpload("text/csv", strings.Repeat("x", authentication.MaxUploadBytes+1)))
		left, err := os.ReadDir(folder)
		require.NoError(t, err)
		require.Empty(t, left)
	}
	t.Setenv("TMPDIR", folder+"/missing")
	require.Equal(t, http.StatusInternalServerError, serveInvitations(&invitations{}, sendUpload("text/csv", "a")).StatusCode)
}

func TestCancelInvitations(t *testing.T) {
	t.Parallel()
	i := &invitations{}
	r := httptest.NewRequest(http.MethodPost, "/users/invitations/"+batchID+"/cancel", nil)
	requireAnswer(t, serveInvitations(i, withCookie(r, "ADMIN")), http.StatusOK,
		`{"error_code":0,"message":"Success","data":{"project_id":"`+batchID+`","cancelled":7}}`)
	require.Equal(t, &invitations{called: "Cancel", actor: authentication.Actor{UserID: userID, Admin: true}, batch: batchID}, i)

	i = &invitations{err: authentication.ErrBatchNotFound}
	r = httptest.NewRequest(http.MethodPost, "/users/invitations/x/cancel", nil)
	requireAnswer(t, serveInvitations(i, withCookie(r, "USER")), http.StatusNotFound,
		`{"error_code":20015,"message":"There are no such invitations"}`)
	require.Equal(t, authentication.Actor{UserID: userID}, i.actor, "the use case judges")
	requireAnswer(t, serveInvitations(i, httptest.NewRequest(http.MethodPost, "/users/invitations/x/cancel", nil)),
		http.StatusUnauthorized, `{"error_code":401,"message":"Please log in"}`)
}

func TestAcceptInvitationLogsIn(t *testing.T) {
	t.Parallel()
	i := &invitations{session: session}
	response := serveInvitations(i, post("/authentication/accept-invitation", `{"token":"t","password":"correct horse"}`))
	requireAnswer(t, response, http.StatusOK, success)
	require.Equal(t, &invitations{session: session, called: "Accept", token: "t", password: "correct horse"}, i)
	require.Equal(t, []string{
		"smap_auth_token=signed; Path=/; Domain=smap.example; Max-Age=7200; HttpOnly; Secure; SameSite=Lax",
	}, response.Header["Set-Cookie"])
}

func TestAcceptInvitationIsRefused(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		body   string
		err    error
		status int
		answer string
	}{
		"nothing": {`{}`, nil, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"token":"is required","password":"is required"}}`},
		"an unknown field": {`{"token":"t","password":"correct horse","email":"a"}`, nil, 400,
			`{"error_code":20001,"message":"The request is not valid","errors":{"email":"is not known"}}`},
		"invalid": {`{"token":"t","password":"correct horse"}`, authentication.ErrInvitationInvalid, 400,
			`{"error_code":20012,"message":"This invitation is not valid; ask whoever invited you"}`},
		"used": {`{"token":"t","password":"correct horse"}`, authentication.ErrInvitationUsed, 409,
			`{"error_code":20013,"message":"This invitation has been used already; please log in"}`},
		"expired": {`{"token":"t","password":"correct horse"}`, authentication.ErrInvitationExpired, 400,
			`{"error_code":20014,"message":"This invitation has expired; register, or ask whoever invited you"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := &invitations{err: tc.err, session: authentication.Session{Token: authentication.Token{Lifetime: time.Hour}}}
			response := serveInvitations(i, post("/authentication/accept-invitation", tc.body))
			requireAnswer(t, response, tc.status, tc.answer)
			require.Equal(t, tc.err != nil, i.called != "")
			require.Empty(t, response.Cookies())
		})
	}
}
