package http_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

func TestRegisterInternal(t *testing.T) {
	t.Parallel()
	t.Run("passes every verb to the use case", func(t *testing.T) {
		t.Parallel()
		tests := map[string]struct {
			method, path, body string
			args               []any
		}{
			"init":             {"POST", "/internal/projects/p", `{"user_id":"u"}`, []any{"init", "p", "u", int64(0)}},
			"init, with total": {"POST", "/internal/projects/p", `{"user_id":"u","total":7}`, []any{"init", "p", "u", int64(7)}},
			"total":            {"PUT", "/internal/projects/p/total", `{"total":7,"final":true}`, []any{"total", "p", int64(7), true}},
			"more to come":     {"PUT", "/internal/projects/p/total", `{"total":0,"final":false}`, []any{"total", "p", int64(0), false}},
			"items": {
				"POST", "/internal/projects/p/items", `{"items":[{"item_id":"a"},{"item_id":"b","failed":true}]}`,
				[]any{"mark", "p", []project.Item{{ID: "a"}, {ID: "b", Failed: true}}},
			},
			"fail":          {"POST", "/internal/projects/p/fail", `{"reason":"no quota"}`, []any{"fail", "p", "no quota"}},
			"an escaped id": {"POST", "/internal/projects/a%2Fb%20%3A/fail", `{"reason":"x"}`, []any{"fail", "a/b :", "x"}},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := &counting{change: project.Change{
					Progress:    progress(project.StatusDone, 3, 3, 1),
					Owner:       "u",
					Crossed:     true,
					Unsignalled: true,
				}}
				w := call(server(c, nil, nil), tt.method, tt.path, tt.body)
				require.Equal(t, http.StatusOK, w.Code, w.Body.String())
				require.Equal(t, tt.args, c.args)
				require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
				"project_id":"p","status":"DONE","total":3,"done":3,"errors":1,"percent":100,"completed":true}}`, w.Body.String())
			})
		}
	})
	t.Run("reports whether the call crossed the finish line", func(t *testing.T) {
		t.Parallel()
		c := &counting{change: project.Change{Progress: progress(project.StatusProcessing, 3, 1, 0), Unsignalled: true}}
		w := call(server(c, nil, nil), "POST", "/internal/projects/p/items", `{"items":[{"item_id":"a"}]}`)
		require.JSONEq(t, `{"error_code":0,"message":"Success","data":{
		"project_id":"p","status":"PROCESSING","total":3,"done":1,"errors":0,"percent":33.33,"completed":false}}`, w.Body.String())
	})
	t.Run("responds with the use case's error", func(t *testing.T) {
		t.Parallel()
		for err, want := range map[error]int{
			project.ErrBody: 400, project.ErrNotFound: 404, project.ErrFinal: 409, project.ErrUnavailable: 503,
		} {
			c := &counting{err: err, change: project.Change{Progress: progress(project.StatusDone, 1, 1, 0)}}
			e := server(c, nil, nil)
			require.Equal(t, want, call(e, "POST", "/internal/projects/p", `{"user_id":"u"}`).Code)
			require.Equal(t, want, call(e, "PUT", "/internal/projects/p/total", `{"total":1,"final":true}`).Code)
			require.Equal(t, want, call(e, "POST", "/internal/projects/p/items", `{"items":[{"item_id":"a"}]}`).Code)
			require.Equal(t, want, call(e, "POST", "/internal/projects/p/fail", `{"reason":"x"}`).Code)
		}
	})
	t.Run("reports a project and its owner", func(t *testing.T) {
		t.Parallel()
		for path, want := range map[string]string{
			"p": `{"error_code":0,"message":"Success","data":{"project_id":"p","status":"PROCESSING","total":3,"done":1,
				"errors":0,"percent":33.33,"user_id":"user-1"}}`,
			"a%2Fb": `{"error_code":0,"message":"Success","data":{"project_id":"a/b","status":"NOT_FOUND","total":0,"done":0,
				"errors":0,"percent":0}}`,
		} {
			w := call(server(nil, nil, nil), "GET", "/internal/projects/"+path, "")
			require.Equal(t, http.StatusOK, w.Code)
			require.JSONEq(t, want, w.Body.String())
		}
		require.Equal(t, http.StatusServiceUnavailable, call(server(nil, nil, nil), "GET", "/internal/projects/down", "").Code)
	})
	t.Run("rejects a malformed body", func(t *testing.T) {
		t.Parallel()
		tests := map[string]struct {
			method, path, body string
			status             int
			fields             map[string]string
		}{
			"init, misspelt":       {"POST", "/internal/projects/p", `{"user":"u"}`, 400, map[string]string{"user": "is not known"}},
			"init, a broken total": {"POST", "/internal/projects/p", `{"user_id":"u","total":1.5}`, 400, map[string]string{"total": "has the wrong type"}},
			"total, nothing": {
				"PUT", "/internal/projects/p/total", `{}`, 400, map[string]string{"total": "is required", "final": "is required"},
			},
			"total, no final": {"PUT", "/internal/projects/p/total", `{"total":1}`, 400, map[string]string{"final": "is required"}},
			"total, null":     {"PUT", "/internal/projects/p/total", `{"total":null,"final":true}`, 400, map[string]string{"total": "is required"}},
			"total, misspelt": {"PUT", "/internal/projects/p/total", `{"total":1,"final":true,"x":1}`, 400, map[string]string{"x": "is not known"}},
			"items, misspelt": {
				"POST", "/internal/projects/p/items", `{"items":[{"item_id":"a","fail":true}]}`, 400, map[string]string{"fail": "is not known"},
			},
			"items, Latin-1":   {"POST", "/internal/projects/p/items", "{\"items\":[{\"item_id\":\"a\xff\"}]}", 400, map[string]string{"body": "is not UTF-8, or escapes half of a surrogate pair"}},
			"items, half":      {"POST", "/internal/projects/p/items", `{"items":[{"item_id":"b\ud800"},{"item_id":"b\udc00"}]}`, 400, map[string]string{"body": "is not UTF-8, or escapes half of a surrogate pair"}},
			"items, an array":  {"POST", "/internal/projects/p/items", `["a"]`, 400, map[string]string{"body": "is not one JSON object"}},
			"fail, misspelt":   {"POST", "/internal/projects/p/fail", `{"reason":"x","code":1}`, 400, map[string]string{"code": "is not known"}},
			"fail, too large":  {"POST", "/internal/projects/p/fail", `{"reason":"` + strings.Repeat("x", 64<<10) + `"}`, 413, nil},
			"items, too large": {"POST", "/internal/projects/p/items", `{"items":[` + strings.Repeat(" ", 256<<10) + `]}`, 413, nil},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := &counting{}
				w := call(server(c, nil, nil), tt.method, tt.path, tt.body)
				require.Equal(t, tt.status, w.Code, w.Body.String())
				require.Nil(t, c.args)
				var response struct{ Errors map[string]string }
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &response))
				require.Equal(t, tt.fields, response.Errors)
			})
		}
	})
	// The largest allowed request: 1,000 ids of 200 bytes.
	t.Run("accepts a full batch of items", func(t *testing.T) {
		t.Parallel()
		c := &counting{change: project.Change{Progress: progress(project.StatusProcessing, 1000, 1000, 0)}}
		item := `{"item_id":"` + strings.Repeat("a", 200) + `","failed":false}`
		w := call(server(c, nil, nil), "POST", "/internal/projects/p/items", `{"items":[`+strings.Repeat(item+",", 999)+item+`]}`)
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		require.Len(t, c.args[2], project.MaxItems)
	})
	t.Run("refuses a request without the internal key", func(t *testing.T) {
		t.Parallel()
		c := &counting{}
		e := server(c, nil, user)
		for _, route := range [][2]string{
			{"GET", "/internal/projects/p"}, {"POST", "/internal/projects/p"}, {"PUT", "/internal/projects/p/total"},
			{"POST", "/internal/projects/p/items"}, {"POST", "/internal/projects/p/fail"},
		} {
			r := httptest.NewRequest(route[0], route[1], strings.NewReader(`{"user_id":"u"}`))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			e.ServeHTTP(w, r)
			require.Equal(t, http.StatusUnauthorized, w.Code, route)
		}
		require.Nil(t, c.args)
	})
}
