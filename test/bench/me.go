package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/test/harness"
)

const (
	meCount   = 4000 // requests of each side
	meClients = 8    // connections, each with one request at a time
	meConns   = 5    // to PostgreSQL, as in production above
	mePath    = "/authentication/me"
)

// me measures GET /authentication/me with the cookie of a session beside the least that can respond so: an echo handler,
// in a process of its own as well, that verifies the same token and reads one joined row by primary key.
func (b *bench) me(ctx context.Context) error {
	s, err := b.startAlone(ctx, production...)
	if err != nil {
		return err
	}
	p, err := b.newPerson(ctx, s, "person@example.com")
	if err != nil {
		return err
	}
	login, err := harness.Expect(http.StatusOK)(p.Login(ctx, p.email, harness.Password, false))
	if err != nil {
		return err
	}
	cookie := login.Cookie(b.config.Cookie.Name)
	if cookie == nil {
		return errors.New("the login has set no cookie")
	}
	bareURL, stop, err := startBareMe(s.Database)
	if err != nil {
		return err
	}
	defer stop()
	ours, bare := &meSide{url: s.APIs[0].URL(), cookie: cookie}, &meSide{url: bareURL, cookie: cookie}
	err = b.compare(ctx, comparison{
		what: fmt.Sprintf("me, %d clients; bare: echo, a verified token, one joined row", meClients),
		n:    meCount,
		aim:  0.8,
		ours: shared(meClients, meCount, ours.get),
		bare: shared(meClients, meCount, bare.get),
	})
	b.report.latency("me", ours.warm(), nil)
	b.report.latency("me, bare", bare.warm(), nil)
	return err
}

// meSide is one of the two servers with its samples.
type meSide struct {
	url    string
	cookie *http.Cookie

	mu   sync.Mutex
	took []time.Duration
}

// meClient keeps the connections of both sides.
var meClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: meClients}, Timeout: time.Minute}

func (m *meSide) get(ctx context.Context, _ int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+mePath, http.NoBody)
	if err != nil {
		return err
	}
	request.AddCookie(&http.Cookie{Name: m.cookie.Name, Value: m.cookie.Value})
	started := time.Now()
	response, err := meClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	took := time.Since(started)
	if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(body), "person@example.com")) {
		err = fmt.Errorf("%s: %.300s", response.Status, body)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = append(m.took, took)
	return err
}

// warm returns the samples but those of the first turn.
func (m *meSide) warm() []time.Duration { return slices.Clone(m.took[min(meCount, len(m.took)):]) }

// bareMe is the argument with which this program is the bare side of me.
const bareMe = "bare-me"

// startBareMe starts this program once more and returns where it listens.
func startBareMe(database string) (address string, stop func(), err error) {
	program, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	command := exec.Command(program, bareMe) //nolint:gosec // G204: this program
	command.Env = append(os.Environ(), "POSTGRES_DB="+database)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := command.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = command.Process.Kill() // it may have ended
		_ = command.Wait()
	}
	if _, err := fmt.Fscanln(out, &address); err != nil {
		stop()
		return "", nil, fmt.Errorf("starting the bare side: %w", err)
	}
	return address, stop, nil
}

// serveBareMe is the bare side. It does not return before it is killed, unless it cannot start.
func serveBareMe() error {
	cfg, err := config.Load(config.API)
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", harness.PostgresURL(cfg.Postgres.Database))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(meConns)
	db.SetMaxIdleConns(meConns)
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired())
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.GET(mePath, func(c echo.Context) error {
		cookie, err := c.Cookie(cfg.Cookie.Name)
		if err != nil {
			return err
		}
		var claims struct {
			jwt.RegisteredClaims
			SessionID string `json:"sid"`
		}
		_, err = parser.ParseWithClaims(cookie.Value, &claims, func(*jwt.Token) (any, error) {
			return []byte(cfg.Secrets.JWT), nil
		})
		if err != nil {
			return err
		}
		var user struct{ ID, Email string }
		var ended sql.NullTime
		err = db.QueryRowContext(c.Request().Context(), `SELECT u.id, u.username, s.ended_at FROM sessions s
			JOIN users u ON u.id = s.user_id WHERE s.id = $1`, claims.SessionID).Scan(&user.ID, &user.Email, &ended)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, user)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + listener.Addr().String())
	return http.Serve(listener, e) //nolint:gosec // G114: its only client is this program
}
