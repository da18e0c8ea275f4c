package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Password is the password of everybody here. Tests look for it where it must not be.
const Password = "correct horse battery staple"

// Email returns an address that nobody else has.
func Email() string { return "user-" + strings.ReplaceAll(uuid.NewString(), "-", "") + "@example.com" }

// ErrNoAPI says that every api refused the connection. Nothing was sent.
var ErrNoAPI = errors.New("no api takes connections")

// direct opens a connection per request. The faults that matter hit connections, and an idle one that a dying process
// has closed would blur what the request itself met.
var direct = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   time.Minute,
}

// Client is a browser behind a load balancer: it takes the apis in turn and keeps cookies. As nginx does by default,
// it moves a request to the next api only when nothing was sent. An api that stops comes last. Any number of requests may
// run at once.
type Client struct {
	apis []*Process
	http *http.Client
	turn atomic.Uint64
}

// Client returns a new client without cookies, of the current apis.
func (s *System) Client() *Client { return newClient(slices.Clone(s.APIs)) }

// ClientOf returns a new client without cookies of apis at these URLs.
func ClientOf(urls ...string) *Client {
	var apis []*Process
	for _, url := range urls {
		apis = append(apis, &Process{Name: url, url: url})
	}
	return newClient(apis)
}

func newClient(apis []*Process) *Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only for options that are not set here
	}
	return &Client{
		apis: apis,
		http: &http.Client{Transport: direct.Transport, Timeout: direct.Timeout, Jar: jar},
	}
}

// KeepAlive returns a client with the same cookies and connections of its own, which it keeps.
func (c *Client) KeepAlive() *Client {
	own := *c.http
	own.Transport = &http.Transport{MaxIdleConnsPerHost: 1000}
	return &Client{apis: c.apis, http: &own}
}

// Forgetful is KeepAlive for many strangers: it keeps no cookies.
func (c *Client) Forgetful() *Client {
	own := c.KeepAlive()
	own.http.Jar = nil
	return own
}

// CloseIdle closes the connections that a KeepAlive client has kept.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// Answer is a response in the envelope of the service.
type Answer struct {
	Status    int               `json:"-"`
	Header    http.Header       `json:"-"`
	Raw       string            `json:"-"`
	Took      time.Duration     `json:"-"` // from the request to the last byte of the response
	ErrorCode int               `json:"error_code"`
	Message   string            `json:"message"`
	Data      json.RawMessage   `json:"data"`
	Errors    map[string]string `json:"errors"`
}

// Cookie returns the cookie of that name which the answer sets, nil when it sets none.
func (a Answer) Cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Expect returns a check of a request's two results: any other status is an error.
func Expect(status int) func(Answer, error) (Answer, error) {
	return func(a Answer, err error) (Answer, error) {
		if err == nil && a.Status != status {
			err = fmt.Errorf("status %d, expected %d: %.300s", a.Status, status, a.Raw)
		}
		return a, err
	}
}

// Call makes one request. A body that is a string is sent as it is, any other as JSON; nil sends none. The header is
// pairs of name and value; Content-Type is application/json unless they say otherwise. An error means that no api
// responded, or not in the envelope.
func (c *Client) Call(ctx context.Context, method, path string, body any, header ...string) (Answer, error) {
	payload, isText := body.(string)
	if !isText && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		payload = string(raw)
	}
	var refused error
	for _, api := range c.inTurn() {
		request, err := http.NewRequestWithContext(ctx, method, api.URL()+path, strings.NewReader(payload))
		if err != nil {
			return Answer{}, err
		}
		request.Header.Set("Content-Type", "application/json")
		for pair := range slices.Chunk(header, 2) {
			request.Header.Set(pair[0], pair[1])
		}
		answer, err := c.once(request)
		if err == nil {
			return answer, nil
		}
		if dial, ok := errors.AsType[*net.OpError](err); !ok || dial.Op != "dial" {
			return Answer{}, fmt.Errorf("%s: %s %s: %w", api.Name, method, path, err)
		}
		refused = err
	}
	return Answer{}, fmt.Errorf("%w: %w", ErrNoAPI, refused)
}

// inTurn returns the apis in the order in which a request tries them.
func (c *Client) inTurn() []*Process {
	first := c.turn.Add(1) % uint64(len(c.apis))
	apis := slices.Concat(c.apis[first:], c.apis[:first])
	slices.SortStableFunc(apis, func(a, b *Process) int {
		switch {
		case a.leaving.Load() == b.leaving.Load():
			return 0
		case a.leaving.Load():
			return 1
		}
		return -1
	})
	return apis
}

func (c *Client) once(request *http.Request) (Answer, error) {
	started := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{
		Status:    response.StatusCode,
		Header:    response.Header,
		Raw:       string(raw),
		Took:      time.Since(started),
		ErrorCode: -1,
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return Answer{}, fmt.Errorf("a response without the envelope: %s %q: %w", response.Status, raw, err)
	}
	return answer, nil
}

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	Remember bool   `json:"remember,omitempty"`
}

// Register registers an address.
func (c *Client) Register(ctx context.Context, email, password string, header ...string) (Answer, error) {
	body := credentials{Email: email, Password: password}
	return c.Call(ctx, http.MethodPost, "/authentication/register", body, header...)
}

// SendCode asks for another code.
func (c *Client) SendCode(ctx context.Context, email, password string) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/send-otp", credentials{Email: email, Password: password})
}

// Verify proves an address with its code.
func (c *Client) Verify(ctx context.Context, email, code string) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/verify-otp", map[string]string{"email": email, "otp": code})
}

// Login logs in. The client keeps the cookie.
func (c *Client) Login(ctx context.Context, email, password string, remember bool) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/login", credentials{email, password, remember})
}
