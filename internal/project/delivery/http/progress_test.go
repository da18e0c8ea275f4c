package http_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	t.Run("responds with the progress", func(t *testing.T) {
		t.Parallel()
		r := &reading{now: progress("PAUSED", 3, 2, 1)} // a status of another service
		w := call(server(nil, r, user), "GET", "/projects/p/progress", "")
		require.Equal(t, http.StatusOK, w.Code)
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
		"project_id":"p","status":"PAUSED","total":3,"done":2,"errors":1,"percent":66.66}}`, w.Body.String())
		require.Equal(t, project.Actor{UserID: "user-1"}, r.actor)
		require.Equal(t, "p", r.id)
	})
	t.Run("unescapes the id", func(t *testing.T) {
		t.Parallel()
		for path, want := range map[string]string{"a%2Fb%20%3A%25": "a/b :%", "a%20b": "a b", "a:b": "a:b", "%252F": "%2F", "a+b": "a+b"} {
			r := &reading{now: progress(project.StatusDone, 1, 1, 0)}
			require.Equal(t, http.StatusOK, call(server(nil, r, user), "GET", "/projects/"+path+"/progress", "").Code)
			require.Equal(t, want, r.id)
		}
	})
	t.Run("passes on the user and their role", func(t *testing.T) {
		t.Parallel()
		for role, admin := range map[string]bool{"ADMIN": true, "USER": false, "admin": false, "": false} {
			for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
				r := &reading{now: progress(project.StatusDone, 1, 1, 0)}
				call(server(nil, r, &httpserver.Principal{Subject: "user-1", Role: role}), "GET", path, "")
				require.Equal(t, project.Actor{UserID: "user-1", Admin: admin}, r.actor, role)
			}
		}
	})
	t.Run("responds with the use case's error, and with 401 without a principal", func(t *testing.T) {
		t.Parallel()
		for err, want := range map[error]int{
			project.ErrNotFound: 404, project.ErrUnavailable: 503, project.ErrBody: 400,
		} {
			for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
				w := call(server(nil, &reading{err: err}, user), "GET", path, "")
				require.Equal(t, want, w.Code)
				require.Equal(t, "application/json", w.Header().Get("Content-Type"), "a stream that was not opened is an ordinary response")
			}
		}
		for _, path := range []string{"/projects/p/progress", "/projects/p/progress/stream"} {
			r := &reading{}
			require.Equal(t, http.StatusUnauthorized, call(server(nil, r, nil), "GET", path, "").Code)
			require.Empty(t, r.id)
		}
	})
}
