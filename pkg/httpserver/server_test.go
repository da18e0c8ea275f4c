package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/apperror"
)

var errBody = apperror.New(apperror.Invalid, 20001, "The request is not valid")

// bench is a server with a readable log.
type bench struct {
	*echo.Echo
	log *bytes.Buffer
}

func newBench(o Options) bench {
	b := bench{log: &bytes.Buffer{}}
	o.Log = zerolog.New(b.log)
	b.Echo = New(o)
	return b
}

func (b bench) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w
}

func (b bench) get(path string) *httptest.ResponseRecorder {
	return b.do(httptest.NewRequest(http.MethodGet, path, nil))
}

// lines returns the log's lines so far.
func (b bench) lines(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(b.log.String()) {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &fields))
		all = append(all, fields)
	}
	return all
}

func (b bench) line(t *testing.T) map[string]any {
	t.Helper()
	lines := b.lines(t)
	require.Len(t, lines, 1, "one line per request")
	return lines[0]
}

func fails(err error) echo.HandlerFunc { return func(echo.Context) error { return err } }

func TestRespondError(t *testing.T) {
	t.Parallel()
	t.Run("maps every error to a response", func(t *testing.T) {
		t.Parallel()
		secret := errors.New("secret: dial tcp 10.0.0.1")
		tests := map[string]struct {
			err    error
			status int
			body   string
		}{
			"invalid with fields": {
				errBody.WithFields(map[string]string{"email": "is missing"}), 400,
				`{"error_code":20001,"message":"The request is not valid","errors":{"email":"is missing"}}`,
			},
			"wrapped": {fmt.Errorf("login: %w", errBody), 400, `{"error_code":20001,"message":"The request is not valid"}`},
			"unauthorized": {
				apperror.New(apperror.Unauthorized, 401, "Please log in"), 401, `{"error_code":401,"message":"Please log in"}`,
			},
			"forbidden":    {apperror.New(apperror.Forbidden, 20009, "no"), 403, `{"error_code":20009,"message":"no"}`},
			"not found":    {apperror.New(apperror.NotFound, 130002, "no"), 404, `{"error_code":130002,"message":"no"}`},
			"conflict":     {apperror.New(apperror.Conflict, 20003, "no"), 409, `{"error_code":20003,"message":"no"}`},
			"rate limited": {apperror.New(apperror.RateLimited, 20008, "no"), 429, `{"error_code":20008,"message":"no"}`},
			"unavailable": {
				apperror.New(apperror.Unavailable, 503, "later").WithCause(secret), 503, `{"error_code":503,"message":"later"}`,
			},
			"internal": {
				apperror.New(apperror.Internal, 501, "secret").WithFields(map[string]string{"secret": "x"}), 500,
				`{"error_code":501,"message":"Internal server error"}`,
			},
			"unknown":  {secret, 500, `{"error_code":500,"message":"Internal server error"}`},
			"deadline": {context.DeadlineExceeded, 500, `{"error_code":500,"message":"Internal server error"}`},
			"canceled inside, client still there": {
				context.Canceled, 500, `{"error_code":500,"message":"Internal server error"}`,
			},
			"echo": {
				echo.NewHTTPError(415, "Send JSON").SetInternal(secret), 415, `{"error_code":415,"message":"Send JSON"}`,
			},
			"echo without text": {
				echo.NewHTTPError(400, secret), 400, `{"error_code":400,"message":"Bad Request"}`,
			},
			"echo 5xx": {echo.NewHTTPError(502, "secret"), 502, `{"error_code":502,"message":"Bad Gateway"}`},
			"too large": {
				errBody.WithCause(&http.MaxBytesError{Limit: 1}), 413, `{"error_code":413,"message":"The body is too large"}`,
			},
		}
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := newBench(Options{})
				b.GET("/x", fails(tt.err))
				w := b.get("/x")
				require.Equal(t, tt.status, w.Code)
				require.JSONEq(t, tt.body, w.Body.String())
				require.Equal(t, echo.MIMEApplicationJSON, w.Header().Get(echo.HeaderContentType))
				require.Equal(t, map[int]string{429: "60", 503: "5"}[tt.status], w.Header().Get(echo.HeaderRetryAfter))

				line := b.line(t)
				require.EqualValues(t, tt.status, line["status"])
				if tt.status >= 500 {
					require.Equal(t, "error", line["level"])
					require.Equal(t, tt.err.Error(), line["error"])
				} else {
					require.Equal(t, "info", line["level"])
					require.NotContains(t, b.log.String(), "secret", "a refusal's cause may quote the request")
				}
			})
		}
	})

	t.Run("responds to routes that do not exist", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.POST("/x", fails(nil))

		w := b.get("/nowhere?token=secret")
		require.Equal(t, http.StatusNotFound, w.Code)
		require.JSONEq(t, `{"error_code":404,"message":"Not Found"}`, w.Body.String())

		w = b.get("/x")
		require.Equal(t, http.StatusMethodNotAllowed, w.Code)
		require.JSONEq(t, `{"error_code":405,"message":"Method Not Allowed"}`, w.Body.String())
		require.Contains(t, w.Header().Get("Allow"), http.MethodPost)

		lines := b.lines(t)
		require.Equal(t, "unmatched", lines[0]["route"])
		require.Equal(t, "/nowhere", lines[0]["path"])
		require.Equal(t, "/x", lines[1]["route"])
	})

	t.Run("sends no body to HEAD", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.HEAD("/x", fails(errBody))
		w := b.do(httptest.NewRequest(http.MethodHead, "/x", nil))
		require.Equal(t, http.StatusBadRequest, w.Code)
		require.Empty(t, w.Body.String())
	})

	t.Run("leaves a response that has begun alone", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", func(c echo.Context) error {
			require.NoError(t, c.String(http.StatusOK, "begun"))
			return errors.New("too late")
		})
		w := b.get("/x")
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, "begun", w.Body.String())
		line := b.line(t)
		require.Equal(t, "error", line["level"], "the log still reports it")
		require.Equal(t, "too late", line["error"])
		require.EqualValues(t, 200, line["status"])
	})

	t.Run("does not blame the service for a disconnect", func(t *testing.T) {
		t.Parallel()
		for name, err := range map[string]error{
			"bare":    fmt.Errorf("reading rows: %w", context.Canceled),
			"as ours": apperror.New(apperror.Unavailable, 503, "later").WithCause(context.Canceled),
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithCancel(t.Context())
				b := newBench(Options{})
				b.GET("/x", func(echo.Context) error { cancel(); return err })
				w := b.do(httptest.NewRequest(http.MethodGet, "/x", nil).WithContext(ctx))
				require.Empty(t, w.Body.String())
				line := b.line(t)
				require.EqualValues(t, 499, line["status"])
				require.Equal(t, "info", line["level"])
				require.NotContains(t, line, "error")
			})
		}

		ctx, cancel := context.WithCancel(t.Context())
		b := newBench(Options{})
		b.GET("/x", func(echo.Context) error { cancel(); return errors.New("a real fault") })
		b.do(httptest.NewRequest(http.MethodGet, "/x", nil).WithContext(ctx))
		require.EqualValues(t, 500, b.line(t)["status"], "another fault is not hidden by it")
	})
}

func TestRecoverPanic(t *testing.T) {
	t.Parallel()
	t.Run("responds 500 and logs the stack", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", panicking)
		b.GET("/fine", func(c echo.Context) error { return Success(c, http.StatusOK, nil) })
		w := b.get("/x")
		require.Equal(t, http.StatusInternalServerError, w.Code)
		require.JSONEq(t, `{"error_code":500,"message":"Internal server error"}`, w.Body.String())
		line := b.line(t)
		require.Equal(t, "error", line["level"])
		require.Equal(t, "panic: boom", line["error"])
		require.Contains(t, line["stack"], "httpserver.panicking", "the stack names the function at fault")
		require.NotEmpty(t, line["request_id"])
		require.Equal(t, http.StatusOK, b.get("/fine").Code)
	})

	t.Run("recovers a panic in a route's middleware", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.Use(func(echo.HandlerFunc) echo.HandlerFunc { return panicking })
		b.GET("/x", fails(nil))
		require.Equal(t, http.StatusInternalServerError, b.get("/x").Code)
	})

	t.Run("passes http.ErrAbortHandler on", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.GET("/x", func(echo.Context) error { panic(http.ErrAbortHandler) })
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { b.get("/x") })
	})
}

func panicking(echo.Context) error { panic("boom") }

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	t.Run("refuses a body over the limit", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.POST("/x", func(c echo.Context) error {
			var target struct{ Text string }
			if err := Bind(c, &target, errBody); err != nil {
				return err
			}
			return Success(c, http.StatusOK, len(target.Text))
		})
		server := httptest.NewServer(b)
		defer server.Close()
		const overhead = len(`{"text":""}`)
		exact, over := 64<<10-overhead, 64<<10-overhead+1

		for name, tt := range map[string]struct {
			length  int
			chunked bool
			status  int
		}{
			"with length, at the limit":   {exact, false, 200},
			"with length, over the limit": {over, false, 413},
			"chunked, at the limit":       {exact, true, 200},
			"chunked, over the limit":     {over, true, 413},
		} {
			t.Run(name, func(t *testing.T) {
				var body io.Reader = strings.NewReader(`{"text":"` + strings.Repeat("a", tt.length) + `"}`)
				if tt.chunked {
					body = io.MultiReader(body) // hides the length
				}
				res, err := http.Post(server.URL+"/x", echo.MIMEApplicationJSON, body)
				require.NoError(t, err)
				defer func() { require.NoError(t, res.Body.Close()) }()
				var answer Envelope
				require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
				require.Equal(t, tt.status, res.StatusCode, answer)
				if tt.status == 413 {
					require.Equal(t, Envelope{ErrorCode: 413, Message: "The body is too large"}, answer)
				}
			})
		}
	})

	t.Run("refuses a Content-Length over the limit before the handler", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{BodyLimit: 3})
		b.POST("/x", func(c echo.Context) error { return Success(c, http.StatusOK, nil) })
		post := func(body string) int {
			return b.do(httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(body))).Code
		}
		require.Equal(t, http.StatusOK, post("abc"))
		require.Equal(t, http.StatusRequestEntityTooLarge, post("abcd"))
	})

	// A client that closes its connection after the request, as proxies do by default, must be able to read the refusal
	// before the connection is reset. It is a race, hence the many tries.
	t.Run("lets the refusal arrive", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.POST("/x", func(c echo.Context) error { return Success(c, http.StatusOK, nil) })
		server := httptest.NewServer(b)
		defer server.Close()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for range 100 {
			res, err := client.Post(server.URL+"/x", echo.MIMEApplicationJSON, strings.NewReader(strings.Repeat("a", 1<<20)))
			require.NoError(t, err)
			require.NoError(t, res.Body.Close())
			require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode)
		}
	})
}

func TestBind(t *testing.T) {
	t.Parallel()
	t.Run("reads one JSON object", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{BodyLimit: 40})
		b.POST("/x", func(c echo.Context) error {
			var target struct {
				Email string `json:"email"`
			}
			if err := Bind(c, &target, errBody); err != nil {
				return err
			}
			return Success(c, http.StatusOK, target)
		})
		for name, tt := range map[string]struct {
			contentType, body string
			status            int
			answer            string
		}{
			"good":       {"application/json", `{"email":"a","unknown":1}`, 200, `{"error_code":0,"message":"Success","data":{"email":"a"}}`},
			"charset":    {"application/json; charset=utf-8", `{"email":"a"}`, 200, `{"error_code":0,"message":"Success","data":{"email":"a"}}`},
			"form":       {"application/x-www-form-urlencoded", `email=a`, 415, `{"error_code":415,"message":"Send JSON with Content-Type: application/json"}`},
			"no type":    {"", `{}`, 415, `{"error_code":415,"message":"Send JSON with Content-Type: application/json"}`},
			"wrong type": {"application/json", `{"email":1}`, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"email":"has the wrong type"}}`},
			"not JSON":   {"application/json", `{"email":`, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not one JSON object"}}`},
			"Latin-1":    {"application/json", "{\"email\":\"p\xe4\"}", 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not UTF-8, or escapes half of a surrogate pair"}}`},
			"surrogate":  {"application/json", `{"email":"\ud800"}`, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not UTF-8, or escapes half of a surrogate pair"}}`},
			"empty":      {"application/json", ``, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not one JSON object"}}`},
			"array":      {"application/json", `[]`, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not one JSON object"}}`},
			"two":        {"application/json", `{} {}`, 400, `{"error_code":20001,"message":"The request is not valid","errors":{"body":"is not one JSON object"}}`},
			"too large":  {"application/json", `{"email":"` + strings.Repeat("a", 40) + `"}`, 413, `{"error_code":413,"message":"The body is too large"}`},
		} {
			t.Run(name, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(tt.body))
				r.Header.Set(echo.HeaderContentType, tt.contentType)
				w := b.do(r)
				require.Equal(t, tt.status, w.Code)
				require.JSONEq(t, tt.answer, w.Body.String())
			})
		}
	})

	t.Run("refuses unknown fields when strict", func(t *testing.T) {
		t.Parallel()
		b := newBench(Options{})
		b.POST("/x", func(c echo.Context) error {
			var target struct {
				Email string `json:"email"`
				Inner struct{ Known int }
			}
			if err := BindStrict(c, &target, errBody); err != nil {
				return err
			}
			return Success(c, http.StatusOK, target.Email)
		})
		refused := func(field, problem string) string {
			return `{"error_code":20001,"message":"The request is not valid","errors":{"` + field + `":"` + problem + `"}}`
		}
		for name, tt := range map[string]struct {
			body   string
			status int
			answer string
		}{
			"good":       {`{"email":"a"}`, 200, `{"error_code":0,"message":"Success","data":"a"}`},
			"unknown":    {`{"email":"a","mail":1}`, 400, refused("mail", "is not known")},
			"inside":     {`{"inner":{"unknown":1}}`, 400, refused("unknown", "is not known")},
			"quotes":     {`{"a\"b":1}`, 400, refused(`a\"b`, "is not known")},
			"a long one": {`{"` + strings.Repeat("a", 65) + `":1}`, 400, refused("one of the fields", "is not known")},
			"wrong type": {`{"email":1}`, 400, refused("email", "has the wrong type")},
			"two":        {`{} {}`, 400, refused("body", "is not one JSON object")},
			"not JSON":   {`json: unknown field "x"`, 400, refused("body", "is not one JSON object")},
		} {
			t.Run(name, func(t *testing.T) {
				r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader(tt.body))
				r.Header.Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
				w := b.do(r)
				require.Equal(t, tt.status, w.Code)
				require.JSONEq(t, tt.answer, w.Body.String())
			})
		}
	})
}
