package app

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/token"
)

// access is who may call a route.
type access int

const (
	forEveryone access = iota
	forPeople          // everyone who is logged in
	forOwners          // the user whose thing it is, and administrators; to others it does not exist
	forAdmins
	forServices // other services, by the internal key
)

// matrixRow is a row of the matrix: who may call it, and a request that is refused for nothing else.
type matrixRow struct {
	who  access
	id   string // what is put in place of :id, a name of [matrix.things]; empty: an id of nothing
	body string
}

const logoutRoute = "POST /authentication/logout"

// matrixRoutes has every route of the api. A route without a row fails the test.
var matrixRoutes = map[string]matrixRow{
	"POST /authentication/register":          {who: forEveryone},
	"POST /authentication/send-otp":          {who: forEveryone},
	"POST /authentication/verify-otp":        {who: forEveryone},
	"POST /authentication/login":             {who: forEveryone},
	logoutRoute:                              {who: forEveryone},
	"GET /authentication/sessions":           {who: forPeople},
	"DELETE /authentication/sessions":        {who: forPeople},
	"DELETE /authentication/sessions/:id":    {who: forPeople},
	"POST /authentication/accept-invitation": {who: forEveryone},
	"GET /authentication/me":                 {who: forPeople},
	"POST /authentication/forgot-password":   {who: forEveryone},
	"POST /authentication/reset-password":    {who: forEveryone},
	"POST /users/me/change-password":         {who: forPeople, body: `{}`},

	"GET /users/me":           {who: forPeople},
	"PUT /users/me":           {who: forPeople, body: `{}`},
	"GET /users":              {who: forAdmins},
	"GET /users/page":         {who: forAdmins},
	"GET /users/:id":          {who: forAdmins, id: "user"},
	"GET /users/internal/:id": {who: forServices, id: "user"},

	"DELETE /users/me":        {who: forPeople, body: `{}`},
	"PUT /users/:id/role":     {who: forAdmins, id: "user", body: `{"role":"USER"}`},
	"POST /users/:id/disable": {who: forAdmins, id: "user", body: `{"reason":1}`},
	"POST /users/:id/enable":  {who: forAdmins, id: "user"},
	"DELETE /users/:id":       {who: forAdmins, id: "user", body: `{"reason":1}`},
	"GET /audit":              {who: forAdmins},

	"POST /users/invitations":                    {who: forAdmins, body: `[]`},
	"POST /users/invitations/:project_id/cancel": {who: forAdmins},

	"GET /plans":        {who: forEveryone},
	"GET /plans/page":   {who: forEveryone},
	"GET /plans/:id":    {who: forEveryone, id: "plan"},
	"POST /plans":       {who: forAdmins, body: `{}`},
	"PUT /plans/:id":    {who: forAdmins, id: "plan", body: `{"max_usage":100}`},
	"DELETE /plans/:id": {who: forAdmins, id: "plan"},

	"GET /subscriptions":                    {who: forPeople},
	"GET /subscriptions/page":               {who: forPeople},
	"GET /subscriptions/me":                 {who: forPeople},
	"GET /subscriptions/:id":                {who: forOwners, id: "subscription"},
	"POST /subscriptions":                   {who: forAdmins, body: `{}`},
	"PUT /subscriptions/:id":                {who: forAdmins, id: "subscription", body: `{}`},
	"DELETE /subscriptions/:id":             {who: forAdmins, body: `{}`},
	"POST /subscriptions/:id/cancel":        {who: forOwners, id: "subscription"},
	"GET /subscriptions/internal/users/:id": {who: forServices, id: "user"},
	"GET /internal/users/:id/entitlement":   {who: forServices, id: "user"},
	"PUT /internal/subscriptions/users/:id": {who: forServices, id: "user", body: `{}`},

	"GET /projects/:id/progress":        {who: forOwners, id: "project"},
	"GET /projects/:id/progress/stream": {who: forOwners, id: "project"},
	"GET /internal/projects/:id":        {who: forServices, id: "project"},
	"POST /internal/projects/:id":       {who: forServices, body: `{"user_id":"a","total":1}`},
	"PUT /internal/projects/:id/total":  {who: forServices, body: `{"total":1,"final":false}`},
	"POST /internal/projects/:id/items": {who: forServices, body: `{"items":[{"item_id":"a"}]}`},
	"POST /internal/projects/:id/fail":  {who: forServices, body: `{"reason":"a"}`},

	"GET /live":            {who: forEveryone},
	"GET /ready":           {who: forEveryone},
	"GET /health":          {who: forEveryone},
	"GET /health/redis":    {who: forEveryone},
	"GET /health/rabbitmq": {who: forEveryone},
	"GET /metrics":         {who: forEveryone},
	"GET /openapi.yaml":    {who: forEveryone},
	"GET /asyncapi.yaml":   {who: forEveryone},
	"GET /schemas/*":       {who: forEveryone},
	"GET /docs":            {who: forEveryone},
	"GET /docs/*":          {who: forEveryone},

	"GET /accept-invitation":          {who: forEveryone},
	"GET /accept-invitation/page.css": {who: forEveryone},
	"GET /accept-invitation/page.js":  {who: forEveryone},
	"GET /invitation-progress":        {who: forEveryone},

	// Of the standalone alone:
	"POST /dev/clock/advance":      {who: forEveryone},
	"POST /dev/promote":            {who: forEveryone},
	"GET /":                        {who: forEveryone},
	"GET /dev/flow":                {who: forEveryone},
	"GET /dev/console/console.css": {who: forEveryone},
	"GET /dev/console/console.js":  {who: forEveryone},
	"GET /dev/console/icon.svg":    {who: forEveryone},
}

// standing is what a caller is to the things of the matrix, by the database and not by the token.
type standing int

const (
	nobody standing = iota
	owner
	other
	administrator
	service
)

// refusal returns the status with which a caller is refused, 0 when the route is theirs to call.
func refusal(who access, s standing) int {
	isUser := s == owner || s == other || s == administrator
	switch {
	case who == forServices && s != service, who != forEveryone && who != forServices && !isUser:
		return http.StatusUnauthorized
	case who == forAdmins && s != administrator:
		return http.StatusForbidden
	case who == forOwners && s == other:
		return http.StatusNotFound
	}
	return 0
}

// matrix is a program with a caller of every kind, and things that belong to one of them.
type matrix struct {
	*program
	callers []matrixCaller
	things  map[string]string
}

type matrixCaller struct {
	name     string
	header   [2]string
	standing standing
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{program: start(t, t.TempDir()), things: map[string]string{}}
	const email, password = "owner@example.com", "a long enough one"
	m.ok(t, http.StatusCreated, http.MethodPost, "/authentication/register", fields{"email": email, "password": password})
	mails, err := m.Inbox().Wait(t.Context(), email, 1)
	require.NoError(t, err)
	m.ok(t, http.StatusOK, http.MethodPost, "/authentication/verify-otp",
		fields{"email": email, "otp": sixDigits.FindString(mails[0].Text)})
	for thing, query := range map[string]string{
		"user":         "SELECT id FROM users",
		"subscription": "SELECT id FROM subscriptions",
		"plan":         "SELECT plan_id FROM subscriptions",
	} {
		m.things[thing] = m.text(t, query)
	}
	m.things[""] = uuid.NewString()
	m.things["project"] = "proj_" + uuid.NewString()
	_, err = m.App.progress.count.Init(t.Context(), m.things["project"], m.things["user"], 1)
	require.NoError(t, err)

	user, err := authsql.NewUsers(m.db).ByID(t.Context(), m.things["user"])
	require.NoError(t, err)
	m.callers = []matrixCaller{ // those who are refused come first: a call that is allowed may change the thing
		{name: "anonymous"},
		{name: "a bad token", header: [2]string{"Cookie", "smap_auth_token=x"}},
		m.person(t, "disabled", nobody, authentication.RoleAdmin,
			"UPDATE users SET disabled_at = updated_at, disabled_active = TRUE, is_active = FALSE, password_hash = NULL WHERE id = $1"),
		m.person(t, "not verified", nobody, authentication.RoleAdmin, "UPDATE users SET is_active = FALSE WHERE id = $1"),
		m.person(t, "deleted", nobody, authentication.RoleAdmin, "UPDATE users SET deleted_at = updated_at WHERE id = $1"),
		m.person(t, "erased", nobody, authentication.RoleAdmin, "DELETE FROM users WHERE id = $1"),
		{name: "a wrong key", header: [2]string{"X-Internal-Key", "another key, not the one"}},
		{name: "an empty key", header: [2]string{"X-Internal-Key", ""}},
		{name: "the right key", header: [2]string{"X-Internal-Key", internalKey}},
		{name: "the right key as Authorization", header: [2]string{"Authorization", internalKey}},
		m.person(t, "another user", other, authentication.RoleUser, ""),
		m.person(t, "demoted", other, authentication.RoleAdmin, "UPDATE users SET role_hash = NULL WHERE id = $1"),
		{name: "the owner", header: m.login(t, user), standing: owner},
		m.person(t, "an administrator", administrator, authentication.RoleAdmin, ""),
		m.promoted(t),
	}
	return m
}

func (p *program) text(t *testing.T, query string, args ...any) (text string) {
	t.Helper()
	require.NoError(t, p.db.Conn(t.Context()).QueryRowContext(t.Context(), query, args...).Scan(&text))
	return text
}

// login returns the header of a token of a session of user.
func (m *matrix) login(t *testing.T, user authentication.User) [2]string {
	t.Helper()
	return [2]string{"Cookie", m.cfg.Cookie.Name + "=" + m.tokenOf(t, user)}
}

// tokenOf opens a session of a stored user and returns a token of it.
func (p *program) tokenOf(t *testing.T, user authentication.User) string {
	t.Helper()
	now := p.clock.Now()
	policy := authentication.SessionPolicy{Idle: time.Hour}
	session := policy.Open(uuid.NewString(), user.ID, false, authentication.Client{}, now)
	require.NoError(t, authsql.NewSessions(p.db).Create(t.Context(), session))
	tokens := token.New(token.Options{Secret: []byte(p.cfg.Secrets.JWT), Clock: p.clock})
	issued, err := tokens.Issue(user, session.ID, now, now.Add(time.Hour))
	require.NoError(t, err)
	return issued
}

// person stores a user, logs in, and changes the user's row after that.
func (m *matrix) person(t *testing.T, name string, s standing, role authentication.Role, change string) matrixCaller {
	t.Helper()
	user := authentication.User{
		ID:        uuid.NewString(),
		Email:     strings.ReplaceAll(name, " ", ".") + "@example.com",
		Role:      role,
		Active:    true,
		CreatedAt: m.clock.Now(),
		UpdatedAt: m.clock.Now(),
	}
	require.NoError(t, authsql.NewUsers(m.db).Create(t.Context(), user))
	caller := matrixCaller{name: name, header: m.login(t, user), standing: s}
	if change != "" {
		changed, err := m.db.Exec(t.Context(), "changing", change, user.ID)
		require.NoError(t, err)
		require.EqualValues(t, 1, changed)
	}
	return caller
}

// promoted has a token that says USER.
func (m *matrix) promoted(t *testing.T) matrixCaller {
	t.Helper()
	caller := m.person(t, "promoted", administrator, authentication.RoleUser, "")
	require.NoError(t, promote(t.Context(), m.cfg, m.db, "promoted@example.com"))
	return caller
}

// status makes the request of a row as the caller.
func (m *matrix) status(t *testing.T, pattern string, r matrixRow, caller matrixCaller) int {
	t.Helper()
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.NewReplacer(":id", m.things[r.id], ":project_id", m.things[""], "*", "").Replace(path)
	request, err := http.NewRequestWithContext(t.Context(), method, m.APIURL()+path, strings.NewReader(r.body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	if caller.header[0] != "" {
		request.Header.Set(caller.header[0], caller.header[1])
	}
	response, err := (&http.Client{Timeout: 10 * time.Second}).Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close()) // also of a stream that goes on
	return response.StatusCode
}

// check calls every route as every caller.
func (m *matrix) check(t *testing.T, routes []string) {
	t.Helper()
	for _, pattern := range routes {
		row, known := matrixRoutes[pattern]
		if !known {
			t.Errorf("%s has no row in matrixRoutes: say who may call it", pattern)
			continue
		}
		for _, caller := range m.callers {
			got := m.status(t, pattern, row, caller)
			if want := refusal(row.who, caller.standing); want != 0 {
				if got != want {
					t.Errorf("%s: %s gets %d, not %d", pattern, caller.name, got, want)
				}
				continue
			}
			refused := got == http.StatusUnauthorized || got == http.StatusForbidden
			hidden := got == http.StatusNotFound && row.id != ""
			if refused || hidden || got >= http.StatusInternalServerError {
				t.Errorf("%s: %s gets %d", pattern, caller.name, got)
			}
		}
	}
}

// served returns the routes of the router.
func (m *matrix) served() (patterns []string) {
	for _, r := range m.web.Routes() {
		if r.Method != echo404 && r.Method != http.MethodHead {
			patterns = append(patterns, r.Method+" "+r.Path)
		}
	}
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	last := func(pattern string) bool { return pattern == logoutRoute } // no caller has a session after that
	return append(slices.DeleteFunc(slices.Clone(patterns), last), logoutRoute)
}

func TestAuthorization(t *testing.T) {
	t.Run("holds for every route and every caller", func(t *testing.T) {
		t.Setenv("INTERNAL_KEY", internalKey)
		m := newMatrix(t)
		for i, caller := range m.callers {
			if strings.HasPrefix(caller.name, "the right key") {
				m.callers[i].standing = service
			}
		}
		routes := m.served()
		m.check(t, routes)
		for pattern := range matrixRoutes {
			require.Contains(t, routes, pattern, "matrixRoutes has a route that is not served")
		}
	})
	t.Run("lets no service in without a key to know it by", func(t *testing.T) {
		m := newMatrix(t)
		m.check(t, slices.DeleteFunc(m.served(), func(pattern string) bool { return matrixRoutes[pattern].who != forServices }))
	})
}
