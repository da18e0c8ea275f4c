package system

import (
	"bytes"
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

// direct talks to one server, a connection per request: the faults that matter hit connections, and a kept one that a
// dying process has closed would blur what the request itself met.
var direct = &http.Client{
	Transport: &http.Transport{DisableKeepAlives: true},
	Timeout:   30 * time.Second,
}

// Client is a person's browser behind a load balancer: it goes round the apis, keeps cookies, and moves a request to
// the next api as nginx does by default, which for a POST means only when nothing was sent. Any number of requests
// may run at once.
type Client struct {
	apis []*Process
	http *http.Client
	turn atomic.Uint64
}

// Client answers a new one without cookies, on the apis there are now.
func (s *System) Client() *Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // only for options that are not given
	}
	return &Client{apis: slices.Clone(s.APIs), http: &http.Client{Transport: direct.Transport, Timeout: direct.Timeout, Jar: jar}}
}

// Answer is an answer in the envelope of the service (WIRE.md B3).
type Answer struct {
	Status    int               `json:"-"`
	Header    http.Header       `json:"-"`
	Raw       string            `json:"-"`
	ErrorCode int               `json:"error_code"`
	Message   string            `json:"message"`
	Data      json.RawMessage   `json:"data"`
	Errors    map[string]string `json:"errors"`
}

// Cookie answers the cookie of that name which the answer sets, nil when it sets none.
func (a Answer) Cookie(name string) *http.Cookie {
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Call makes one request. body is sent as it is when it is a string, otherwise as JSON; nil sends none. header are
// pairs of name and value; Content-Type is application/json unless they say otherwise. An error means that no api
// gave an answer, or one that is not in the envelope.
func (c *Client) Call(ctx context.Context, method, path string, body any, header ...string) (Answer, error) {
	payload, isText := body.(string)
	if !isText && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		payload = string(raw)
	}
	first := c.turn.Add(1)
	var refused error
	for i := range len(c.apis) {
		api := c.apis[(first+uint64(i))%uint64(len(c.apis))]
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
			return Answer{}, fmt.Errorf("%s: %w", api.Name, err)
		}
		refused = err
	}
	return Answer{}, fmt.Errorf("%w: %w", ErrNoAPI, refused)
}

// ErrNoAPI tells that every api refused the connection. Nothing was sent.
var ErrNoAPI = errors.New("no api takes connections")

func (c *Client) once(request *http.Request) (Answer, error) {
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: response.StatusCode, Header: response.Header, Raw: string(raw), ErrorCode: -1}
	if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&answer); err != nil {
		return Answer{}, fmt.Errorf("an answer without the envelope: %s %q: %w", response.Status, raw, err)
	}
	return answer, nil
}

// Register is the route of that name, like SendCode, Verify and Login.
func (c *Client) Register(ctx context.Context, email, password string, header ...string) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/register", credentials{Email: email, Password: password}, header...)
}

// SendCode see Register.
func (c *Client) SendCode(ctx context.Context, email, password string) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/send-otp", credentials{Email: email, Password: password})
}

// Verify see Register.
func (c *Client) Verify(ctx context.Context, email, code string) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/verify-otp", map[string]string{"email": email, "otp": code})
}

// Login see Register.
func (c *Client) Login(ctx context.Context, email, password string, remember bool) (Answer, error) {
	return c.Call(ctx, http.MethodPost, "/authentication/login", credentials{email, password, remember})
}

type credentials struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	Remember bool   `json:"remember,omitempty"`
}

// Email answers an address that nobody else has.
func Email() string { return "user-" + strings.ReplaceAll(uuid.NewString(), "-", "") + "@example.com" }

// Password is what people choose here; tests look for it where it must not be.
const Password = "correct horse battery staple"
