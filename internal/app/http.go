package app

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	swagger "github.com/swaggest/swgui/v5emb"

	"github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/internal/authentication"
	authhttp "github.com/smap-platform/identity/internal/authentication/delivery/http"
	projecthttp "github.com/smap-platform/identity/internal/project/delivery/http"
	subscriptionhttp "github.com/smap-platform/identity/internal/subscription/delivery/http"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
	"github.com/smap-platform/identity/pkg/lifecycle"
)

// requestTimeout ends what a request waits for when a dependency hangs instead of failing; the answer is then a 503.
// It leaves room for a transaction at its own deadline behind a full password-hashing queue.
const requestTimeout = 15 * time.Second

// web is the api's HTTP side: every route of the service.
func (p *parts) web(a *accounts, progress *progress) *echo.Echo {
	routes := projecthttp.Limits()
	routes["POST /users/invitations"] = httpserver.Limits{Body: authentication.MaxUploadBytes, Timeout: inviteTimeout}
	routes["POST /users/invitations/:project_id/cancel"] = httpserver.Limits{Timeout: inviteTimeout}
	e := p.newEcho(p.metrics.registry, routes)
	root := e.Group("")
	authenticated := authhttp.Authenticate(a.tokens, p.cfg.Cookie.Name)
	cookie := authhttp.CookieOptions{
		Name: p.cfg.Cookie.Name, Domain: p.cfg.Cookie.Domain, Secure: p.cfg.Cookie.Secure, SameSite: p.cfg.Cookie.SameSite,
	}
	authhttp.Register(root, a.authentication, cookie, authenticated)
	authhttp.RegisterInvitations(root, a.invitations, cookie, authenticated)
	subscriptionhttp.Register(root, a.subscriptions, authenticated)
	projecthttp.Register(root, progress.reading, authenticated)
	projecthttp.RegisterInternal(root, progress.counting, httpserver.InternalKey(string(p.cfg.Secrets.Internal)))
	docs(e)
	return e
}

// monitor is the consumer's HTTP side: health and metrics only, and no measuring of its own.
func (p *parts) monitor() *echo.Echo { return p.newEcho(nil, nil) }

func (p *parts) newEcho(durations prometheus.Registerer, routes map[string]httpserver.Limits) *echo.Echo {
	e := httpserver.New(httpserver.Options{
		Log: p.log, Prefix: "/identity", Tracer: p.tracer(), Metrics: durations, Timeout: requestTimeout, Routes: routes,
	})
	e.Use(explainDatabase)
	p.health.register(e)
	e.GET("/metrics", echo.WrapHandler(promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{Registry: p.metrics.registry})))
	return e
}

// explainDatabase tells a client that the service is away, instead of at fault, when it is the database.
func explainDatabase(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error { return database.Explain(next(c)) }
}

// docs serves the contract and a page to read it with; nothing is loaded from elsewhere.
func docs(e *echo.Echo) {
	e.GET("/openapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", api.OpenAPI) })
	e.GET("/asyncapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", api.AsyncAPI) })
	e.GET("/schemas/*", echo.WrapHandler(http.FileServerFS(api.Schemas)))
	page := echo.WrapHandler(swagger.New("SMAP Identity Service", "/openapi.yaml", "/docs/"))
	for _, path := range []string{"/docs", "/docs/*"} {
		e.GET(path, func(c echo.Context) error {
			// The page brings its script and style inline and draws its icons from data URLs.
			c.Response().Header().Set(echo.HeaderContentSecurityPolicy,
				"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
			return page(c)
		})
	}
}

// serving is the role of an HTTP server on l. It says "not ready" first and goes on serving for DRAIN_DELAY. Requests in
// flight get half of the time a stop may take: the relay, the broker and the database come after them.
func (p *parts) serving(name string, e *echo.Echo, l net.Listener) lifecycle.Role {
	return lifecycle.Role{Name: name, Run: func(ctx context.Context) error {
		accepting, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		context.AfterFunc(ctx, func() {
			p.health.draining.Store(true)
			time.AfterFunc(p.cfg.Service.DrainDelay, stop)
		})
		return httpserver.Serve(accepting, e, l, p.cfg.Service.ShutdownTimeout/2)
	}}
}
