package http_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestProgress(t *testing.T) {
	t.Parallel()
	r := &reading{now: progress("PAUSED", 3, 2, 1)} // a neighbour's status
	w := call(server(nil, r, user), "GET", "/projects/p/progress", "")
	require.Equal(t, http.StatusOK, w.Code)
	require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
		"project_id":"p","status":"PAUSED","total":3,"done":2,"errors":1,"percent":66.66}}`, w.Body.String())
	require.Equal(t, project.Actor{UserID: "user-1"}, r.actor)
	require.Equal(t, "p", r.id)
}

func TestTheIDIsUsedAsItIsMeant(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{"a%2Fb%20%3A%25": "a/b :%", "a%20b": "a b", "a:b": "a:b", "%252F": "%2F", "a+b": "a+b"} {
		r := &reading{now: progress(project.StatusDone, 1, 1, 0)}
		require.Equal(t, http.StatusOK, call(server(nil, r, user), "GET", "/projects/"+path+"/progress", "").Code)
		require.Equal(t, want, r.id)
	}
}

func TestWhoAsks(t *testing.T) {
	t.Parallel()
	for role, admin := range map[string]bool{"ADMIN": true, "USER": false, "admin": false, "": false} {
		for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
			r := &reading{now: progress(project.StatusDone, 1, 1, 0)}
			call(server(nil, r, &httpserver.Principal{Subject: "user-1", Role: role}), "GET", path, "")
			require.Equal(t, project.Actor{UserID: "user-1", Admin: admin}, r.actor, role)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]int{
		project.ErrNotFound: 404, project.ErrNotYours: 403, project.ErrUnavailable: 503, project.ErrBody: 400,
	} {
		for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
			w := call(server(nil, &reading{err: err}, user), "GET", path, "")
			require.Equal(t, want, w.Code)
			require.Equal(t, "application/json", w.Header().Get("Content-Type"), "before a stream begins it is refused like anything else")
		}
	}
	for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
		r := &reading{}
		require.Equal(t, http.StatusUnauthorized, call(server(nil, r, nil), "GET", path, "").Code)
		require.Empty(t, r.id)
	}
}
