package http_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
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

var _ delivery.Directory = (*usecase.Directory)(nil)

// directory returns what it is given and remembers its arguments.
type directory struct {
	users []authentication.User
	total int
	err   error

	called  string
	actor   authentication.Actor
	filter  authentication.UserFilter
	id      string
	user    authentication.User
	profile authentication.Profile
}

func (d *directory) List(
	_ context.Context, actor authentication.Actor, f authentication.UserFilter,
) ([]authentication.User, int, error) {
	d.called, d.actor, d.filter = "List", actor, f
	return d.users, d.total, d.err
}

func (d *directory) Find(_ context.Context, actor authentication.Actor, id string) (authentication.User, error) {
	d.called, d.actor, d.id = "Find", actor, id
	return full, d.err
}

func (d *directory) FindForService(_ context.Context, id string) (authentication.User, error) {
	d.called, d.id = "FindForService", id
	return full, d.err
}

func (d *directory) UpdateProfile(
	_ context.Context, user authentication.User, p authentication.Profile,
) (authentication.User, error) {
	d.called, d.user, d.profile = "UpdateProfile", user, p
	return full, d.err
}

var full = authentication.User{
	ID:           userID,
	Email:        "an@example.com",
	FullName:     "Nguyễn An",
	AvatarURL:    "https://a.example/an.png",
	PasswordHash: "hash",
	Role:         authentication.RoleUser,
	Active:       true,
	CreatedAt:    time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC),
	UpdatedAt:    time.Date(2026, 1, 31, 9, 31, 0, 0, time.UTC),
}

const fullJSON = `{"id":"` + userID + `","username":"an@example.com","full_name":"Nguyễn An",` +
	`"avatar_url":"https://a.example/an.png","role":"USER","is_active":true,` +
	`"created_at":"2026-01-31T09:30:00.123456Z","updated_at":"2026-01-31T09:31:00Z"}`

// serveUsers sends r through the whole server, as a request of a user who is logged in and of a service.
func serveUsers(d *directory, r *http.Request) *http.Response {
	e := httpserver.New(httpserver.Options{Log: zerolog.Nop()})
	delivery.RegisterUsers(e.Group(""), d, (&people{}).authenticate())
	delivery.RegisterInternal(e.Group(""), d, httpserver.InternalKey("the key"))
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

func getUsers(path string) *http.Request {
	return withCookie(httptest.NewRequest(http.MethodGet, path, nil), "good")
}

func data(s string) string { return `{"error_code":0,"message":"Success","data":` + s + `}` }

func TestUsers(t *testing.T) {
	t.Parallel()
	caller := authentication.Actor{UserID: userID, Admin: true} // as people say

	t.Run("see themselves", func(t *testing.T) {
		t.Parallel()
		d := &directory{}
		requireAnswer(t, serveUsers(d, getUsers("/users/me")), http.StatusOK, data(
			`{"id":"`+userID+`","username":"an@example.com","full_name":"Nguyễn An","role":"ADMIN","is_active":true,`+
				`"created_at":"0001-01-01T00:00:00Z","updated_at":"0001-01-01T00:00:00Z"}`))
		require.Empty(t, d.called, "the look-up of the request has read them")
	})

	t.Run("change themselves", func(t *testing.T) {
		t.Parallel()
		empty, name, avatar := "", "Bình", "https://a.example/b.png"
		for body, want := range map[string]authentication.Profile{
			`{}`:                   {},
			`{"full_name":"Bình"}`: {FullName: &name},
			`{"full_name":"Bình","avatar_url":"https://a.example/b.png","role":"ADMIN"}`: {FullName: &name, AvatarURL: &avatar},
			`{"full_name":null,"avatar_url":""}`:                                         {FullName: &empty, AvatarURL: &empty},
		} {
			d := &directory{}
			r := withCookie(httptest.NewRequest(http.MethodPut, "/users/me", strings.NewReader(body)), "good")
			r.Header.Set("Content-Type", "application/json")
			requireAnswer(t, serveUsers(d, r), http.StatusOK, data(fullJSON))
			require.Equal(t, want, d.profile, body)
			require.Equal(t, userID, d.user.ID)
			require.Equal(t, an.FullName, d.user.FullName, "as the look-up has read them")
		}
		for body, problem := range map[string]string{
			`{"full_name":1}`:          `{"full_name":"has the wrong type"}`,
			`{"avatar_url":[]}`:        `{"avatar_url":"has the wrong type"}`,
			`[]`:                       `{"body":"is not one JSON object"}`,
			"{\"full_name\":\"\xe4\"}": `{"body":"is not UTF-8, or escapes half of a surrogate pair"}`,
		} {
			d := &directory{}
			r := withCookie(httptest.NewRequest(http.MethodPut, "/users/me", strings.NewReader(body)), "good")
			r.Header.Set("Content-Type", "application/json")
			requireAnswer(t, serveUsers(d, r), http.StatusBadRequest,
				`{"error_code":10001,"message":"The request is not valid","errors":`+problem+`}`)
			require.Empty(t, d.called)
		}
	})

	t.Run("are listed", func(t *testing.T) {
		t.Parallel()
		d := &directory{users: []authentication.User{full}, total: 31}
		requireAnswer(t, serveUsers(d, getUsers("/users?page=3")), http.StatusOK, data(`{"users":[`+fullJSON+`]}`))
		require.Equal(t, caller, d.actor)
		require.Equal(t, authentication.UserFilter{Limit: 15, Offset: 30}, d.filter)

		requireAnswer(t, serveUsers(d, getUsers("/users/page?page=3&limit=15")), http.StatusOK, data(`{"users":[`+fullJSON+`],`+
			`"metadata":{"total":31,"count":1,"per_page":15,"current_page":3,"total_pages":3,"has_next":false,"has_prev":true}}`))

		d = &directory{}
		requireAnswer(t, serveUsers(d, getUsers("/users/page")), http.StatusOK, data(
			`{"users":[],"metadata":{"total":0,"count":0,"per_page":15,"current_page":1,"total_pages":0,"has_next":false,"has_prev":false}}`))
		requireAnswer(t, serveUsers(d, getUsers("/users")), http.StatusOK, data(`{"users":[]}`))
	})

	t.Run("are listed by id", func(t *testing.T) {
		t.Parallel()
		d := &directory{}
		ids := strings.Repeat(userID+",", 20)
		serveUsers(d, getUsers("/users?ids="+ids))
		require.Len(t, d.filter.IDs, 20)
		require.Equal(t, 20, d.filter.Limit, "none is cut off without notice")
		serveUsers(d, getUsers("/users?limit=5&ids="+ids))
		require.Equal(t, 5, d.filter.Limit, "as asked for")
		for _, bad := range []string{"ids=x", "ids[]=" + userID + "&ids[]=1", "ids=" + strings.Repeat(userID+",", 101)} {
			d := &directory{}
			response := serveUsers(d, getUsers("/users?"+bad))
			require.Equal(t, http.StatusBadRequest, response.StatusCode)
			require.Empty(t, d.called)
		}
	})

	t.Run("are found by id", func(t *testing.T) {
		t.Parallel()
		forService := func(path string) *http.Request {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("X-Internal-Key", "the key")
			return r
		}
		for called, get := range map[string]func(id string) *http.Request{
			"Find":           func(id string) *http.Request { return getUsers("/users/" + id) },
			"FindForService": func(id string) *http.Request { return forService("/users/internal/" + id) },
		} {
			d := &directory{}
			requireAnswer(t, serveUsers(d, get(strings.ToUpper(userID))), http.StatusOK, data(fullJSON))
			require.Equal(t, called, d.called)
			require.Equal(t, userID, d.id)
			for err, want := range map[error]string{
				authentication.ErrNoUser:    `{"error_code":10002,"message":"User not found"}`,
				authentication.ErrForbidden: `{"error_code":403,"message":"Only an administrator may do this"}`,
			} {
				response := serveUsers(&directory{err: err}, get(userID))
				require.Contains(t, []int{http.StatusNotFound, http.StatusForbidden}, response.StatusCode)
				requireAnswer(t, response, response.StatusCode, want)
			}
			require.Equal(t, http.StatusInternalServerError, serveUsers(&directory{err: errors.New("x")}, get(userID)).StatusCode)
			for _, bad := range []string{"1", "invitations", "..%2f" + userID} {
				d := &directory{}
				requireAnswer(t, serveUsers(d, get(bad)), http.StatusBadRequest,
					`{"error_code":10006,"message":"This is not a user id"}`)
				require.Empty(t, d.called)
			}
		}
		response := serveUsers(&directory{}, getUsers("/users/internal/"+userID))
		require.Equal(t, http.StatusUnauthorized, response.StatusCode, "a login is no internal key")
	})
}
