//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/test/harness"
)

// fetchJS calls the api as the front end does.
const fetchJS = `async (url, method, body) => {
	const response = await fetch(url, {
		method, credentials: "include", headers: {"Content-Type": "application/json", "lang": "vi"},
		body: body === null ? undefined : JSON.stringify(body),
	})
	return {...await response.json(), request_id: response.headers.get("X-Request-Id")}
}`

// streamJS returns the first event of a stream.
const streamJS = `url => new Promise((resolve, reject) => {
	const stream = new EventSource(url, {withCredentials: true})
	stream.addEventListener("progress", event => { stream.close(); resolve(event.data) })
	stream.onerror = () => { stream.close(); reject(new Error("the stream failed")) }
})`

// attackJS sends what a page of any site may send without asking first, and then asks. It returns when all are sent.
const attackJS = `async (url, method) => {
	const ignore = () => {}
	if (method === "POST") {
		const form = document.createElement("form"), frame = document.createElement("iframe")
		form.action = url; form.method = "POST"; frame.name = form.target = url
		document.body.append(frame, form)
		const done = new Promise(resolve => frame.onload = resolve)
		form.submit()
		await done
		for (const body of [undefined, "{}", new Blob(["{}"])]) {
			await fetch(url, {method, mode: "no-cors", credentials: "include", body}).catch(ignore)
		}
	}
	return await fetch(url, {method, credentials: "include", headers: {"Content-Type": "application/json"}, body: "{}"})
		.then(() => "the page reads the response", () => "")
}`

// simpleRequests is how many requests attackJS sends without asking first.
const simpleRequests = 4

// answer is what fetchJS returns.
type answer struct {
	Code      int             `json:"error_code"`
	Data      json.RawMessage `json:"data"`
	RequestID string          `json:"request_id"`
}

// TestBrowser has pages in a real browser call the api, which has another origin. Names below localhost count as encrypted,
// so there the browser sends Sec-Fetch-Site; elsewhere, without TLS, it sends Origin alone.
func TestBrowser(t *testing.T) {
	t.Parallel()
	port := harness.ServePages(t)
	const saysSite = "with Sec-Fetch-Site"
	domains := map[string]string{saysSite: "smap.localhost", "with Origin alone": "smap.test"}
	var listed []string
	for _, domain := range domains {
		listed = append(listed, "http://app."+domain+":"+port)
	}
	s := harness.New(t, harness.Options{APIs: 1, Consumers: 1, Env: map[string]string{"CORS_ORIGINS": strings.Join(listed, ",")}})
	browser := harness.NewBrowser(t)
	for name, domain := range domains {
		t.Run(name, func(t *testing.T) {
			v := newSurfer(t, s, browser.Open("http://app."+domain+":"+port), "api."+domain)
			var site string
			require.NoError(t, v.page.Call(&site, `async () => (await fetch("/")).headers.get("Sec-Fetch-Site") ?? ""`))
			require.Equal(t, map[bool]string{true: "same-origin"}[name == saysSite], site)
			v.login()
			v.watch()
			_, top, _ := strings.Cut(domain, ".")
			for site, origin := range map[string]string{
				"another site": "http://evil." + top + ":" + port, "a sibling": "http://blog." + domain + ":" + port,
			} {
				t.Run(site+" changes nothing", func(t *testing.T) { v.attack(t, browser.Open(origin), site == "a sibling") })
			}
			v.logout()
		})
	}
}

// surfer is a person who uses the front end's page.
type surfer struct {
	*testing.T
	s      *harness.TestSystem
	page   *harness.Page
	api    string // its URL
	email  string
	userID string
}

func newSurfer(t *testing.T, s *harness.TestSystem, page *harness.Page, host string) *surfer {
	t.Helper()
	u, err := url.Parse(s.APIs[0].URL())
	require.NoError(t, err)
	return &surfer{T: t, s: s, page: page, api: "http://" + host + ":" + u.Port() + "/identity", email: harness.Email()}
}

// call has the page call the api, and returns the answer's data.
func (v *surfer) call(code int, method, path string, body any) json.RawMessage {
	v.Helper()
	var a answer
	require.NoError(v, v.page.Call(&a, fetchJS, v.api+path, method, body))
	require.Equal(v, code, a.Code, "%s %s", method, path)
	require.NotEmpty(v, a.RequestID, "the page can read X-Request-Id")
	return a.Data
}

// login walks from the registration to the home page.
func (v *surfer) login() {
	v.Helper()
	credentials := map[string]any{"email": v.email, "password": harness.Password}
	login := map[string]any{
		"email": v.email, "password": harness.Password, "remember": true,
		"user_agent": "Chromium", "ip_address": "0.0.0.0", "device_name": "test",
	}
	v.call(0, http.MethodPost, "/authentication/register", credentials)
	v.call(20009, http.MethodPost, "/authentication/login", login)
	p := &person{email: v.email}
	p.readMail(v.T, v.s)
	v.call(20005, http.MethodPost, "/authentication/verify-otp", map[string]string{"email": v.email, "otp": p.wrongCode()})
	v.call(0, http.MethodPost, "/authentication/verify-otp", map[string]string{"email": v.email, "otp": p.code})
	v.call(0, http.MethodPost, "/authentication/login", login)
	var me struct{ ID, Email string }
	require.NoError(v, json.Unmarshal(v.call(0, http.MethodGet, "/authentication/me", nil), &me))
	require.Equal(v, v.email, me.Email)
	v.userID = me.ID
}

// watch opens the stream of a project.
func (v *surfer) watch() {
	v.Helper()
	id := uuid.NewString()
	_, err := harness.Expect(http.StatusOK)(v.s.Client().Call(v.Context(), http.MethodPost, "/internal/projects/"+id,
		map[string]any{"user_id": v.userID, "total": 4}, "X-Internal-Key", os.Getenv("INTERNAL_KEY")))
	require.NoError(v, err)
	var event string
	require.NoError(v, v.page.Call(&event, streamJS, v.api+"/projects/"+id+"/progress/stream"))
	require.Contains(v, event, id)
}

// logout ends the visit. The browser has complained about the refusals of the walk alone.
func (v *surfer) logout() {
	v.Helper()
	v.call(0, http.MethodPost, "/authentication/logout", nil)
	v.call(401, http.MethodGet, "/authentication/me", nil)
	want := []string{"/authentication/login 403", "/authentication/verify-otp 400", "/authentication/me 401"}
	harness.Soon(v, func() error {
		var refused []string
		for _, m := range v.page.Messages() {
			refused = append(refused, strings.TrimPrefix(m.URL, v.api)+" "+regexp.MustCompile(`\d{3}|$`).FindString(m.Text))
		}
		if !slices.Equal(want, refused) {
			return fmt.Errorf("the browser says: %q", refused)
		}
		return nil
	})
}

// attack tries every route that changes something from a page of another origin.
func (v *surfer) attack(t *testing.T, page *harness.Page, sameSite bool) {
	var mine struct{ ID string }
	require.NoError(t, json.Unmarshal(v.call(0, http.MethodGet, "/subscriptions/me", nil), &mine))
	if sameSite { // its requests carry the visitor's cookie
		from := len(v.s.APIs[0].Log.Lines(0))
		var kind string
		require.NoError(t, page.Call(&kind, `async url => (await fetch(url, {mode: "no-cors", credentials: "include"})).type`,
			v.api+"/authentication/me"))
		require.Equal(t, "opaque", kind)
		harness.Soon(t, func() error { return requests(v.s, from, 1, http.MethodGet, "/authentication/me", http.StatusOK) })
	}

	v.s.OutboxEmpty() // what the visitor has caused has been published, and its mail is in the ledger
	ledgerHas(t, v.s, 0, "state IN ('owed', 'sending')")
	before := v.state()
	from := len(v.s.APIs[0].Log.Lines(0))
	routes := changing(t)
	for _, route := range routes {
		method, pattern, _ := strings.Cut(route, " ")
		path := regexp.MustCompile(`\{[a-z_]+\}`).ReplaceAllString(pattern, mine.ID)
		begun := len(v.s.APIs[0].Log.Lines(0)) // two routes may share a path
		var read string
		require.NoError(t, page.Call(&read, attackJS, v.api+path, method))
		require.Empty(t, read, route)
		harness.Soon(t, func() error {
			if method == http.MethodPost {
				return requests(v.s, begun, simpleRequests, method, path, http.StatusForbidden)
			}
			return requests(v.s, begun, 1, http.MethodOptions, path, http.StatusNoContent) // and nothing but asked
		})
	}
	for _, line := range v.s.APIs[0].Log.Lines(from) {
		// Safe requests may be the visitor's own: a stream of theirs is logged when it ends.
		safe := regexp.MustCompile(`"method":"(GET|HEAD|OPTIONS)"`).MatchString(line)
		if !safe && strings.Contains(line, `"message":"request"`) {
			require.Contains(t, line, `"status":403`)
		}
	}
	require.Equal(t, before, v.state())
	v.call(0, http.MethodGet, "/authentication/me", nil)
}

// changing returns the routes of the contract that change something ("POST /users/{id}").
func changing(t *testing.T) (routes []string) {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(t, err)
	for path, item := range document.Paths.Map() {
		for method := range item.Operations() {
			if method != http.MethodGet && method != http.MethodHead {
				routes = append(routes, method+" "+path)
			}
		}
	}
	slices.Sort(routes)
	require.Greater(t, len(routes), 10)
	return routes
}

// requests returns nil once the api has logged n requests like this after line from.
func requests(s *harness.TestSystem, from, n int, method, path string, status int) error {
	have := 0
	for _, line := range s.APIs[0].Log.Lines(from) {
		var entry struct {
			Message, Method, Path string
			Status                int
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == "request" &&
			entry.Method == method && entry.Path == path && entry.Status == status {
			have++
		}
	}
	if have != n {
		return fmt.Errorf("%s %s: %d responses with %d, expected %d", method, path, have, status, n)
	}
	return nil
}

// lastSeen is when a session was used last, the second time in its row.
var lastSeen = regexp.MustCompile(`^(sessions\(.*?"[\d :.+-]+"),"[\d :.+-]+"`)

// state returns what an attack would change. The visitor's own pages use their session meanwhile.
func (v *surfer) state() string {
	var kept []string
	for line := range strings.Lines(dump(v.T, v.s)) {
		if !strings.HasPrefix(line, "processes(") {
			kept = append(kept, lastSeen.ReplaceAllString(line, "$1"))
		}
	}
	slices.Sort(kept)
	return strings.Join(kept, "")
}
