package app

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	swagger "github.com/swaggest/swgui/v5emb"

	openapi "github.com/smap-platform/identity/api"
	"github.com/smap-platform/identity/internal/audit"
	audithttp "github.com/smap-platform/identity/internal/audit/delivery/http"
	audits "github.com/smap-platform/identity/internal/audit/usecase"
	"github.com/smap-platform/identity/internal/authentication"
	authhttp "github.com/smap-platform/identity/internal/authentication/delivery/http"
	"github.com/smap-platform/identity/internal/authentication/password"
	authsql "github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/token"
	authentications "github.com/smap-platform/identity/internal/authentication/usecase"
	invitationhttp "github.com/smap-platform/identity/internal/invitation/delivery/http"
	invitationpage "github.com/smap-platform/identity/internal/invitation/delivery/page"
	invitations "github.com/smap-platform/identity/internal/invitation/usecase"
	projecthttp "github.com/smap-platform/identity/internal/project/delivery/http"
	projects "github.com/smap-platform/identity/internal/project/usecase"
	subscriptionhttp "github.com/smap-platform/identity/internal/subscription/delivery/http"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/httpserver"
)

// requestTimeout ends what a request waits for when a dependency hangs instead of failing; the response is then a 503.
// It leaves room for a transaction at its own deadline behind a full password-hashing queue.
const requestTimeout = 15 * time.Second

// services is what the api's routes ask for.
type services struct {
	authentication *authentications.UseCase
	directory      *authentications.Directory
	administration *authentications.Administration
	deleter        *authentications.Deleter
	audit          *audits.Reader
	invitations    *invitations.UseCase
	subscriptions  *subscriptions.Lifecycle
	plans          *subscriptions.Catalog
	reading        *projects.Reading
	counting       *projects.Counting
	tokens         *token.Issuer
}

// newWeb returns the api's HTTP side, every route of the service: the server of people, and the one of other services and
// operators. Without INTERNAL_PORT both are the same.
func (in *infra) newWeb(s services) (public, internal *echo.Echo) {
	routes := projecthttp.Limits()
	maps.Copy(routes, invitationhttp.Limits())
	maps.Copy(routes, in.ownLimits)
	in.logCallers()
	public = in.newEcho(in.metrics.registry, routes)
	public.Use(hashInTurns, recordOrigin)
	internal = public
	separate := in.cfg.HTTP.InternalPort != nil
	if separate {
		internal = in.newEcho(in.metrics.registry, routes)
		internal.Use(recordOrigin)
	}
	in.registerMetrics(internal)
	in.registerForServices(internal.Group(""), s)
	if separate {
		hide(public, internal)
		in.health.register(public, brief)
	}
	in.health.register(internal, detailed)
	in.registerForPeople(public.Group(""), s)
	registerDocs(public)
	return public, internal
}

// hide has every route of internal be a 404 on public, whatever the method. Without that, some would be found to be
// another one: echo takes /users/internal/1 for /users/:id.
func hide(public, internal *echo.Echo) {
	for _, r := range internal.Routes() {
		public.Any(r.Path, echo.NotFoundHandler)
		public.RouteNotFound(r.Path, echo.NotFoundHandler)
	}
}

// registerForServices registers what takes the internal key.
func (in *infra) registerForServices(root *echo.Group, s services) {
	key := httpserver.InternalKey(string(in.cfg.Secrets.Internal), string(in.cfg.Secrets.InternalPrevious))
	authhttp.RegisterInternal(root, s.directory, key)
	subscriptionhttp.RegisterInternal(root, s.subscriptions, key)
	projecthttp.RegisterInternal(root, s.counting, s.reading, key)
}

func (in *infra) registerForPeople(root *echo.Group, s services) {
	auth := authhttp.Authentication{
		Tokens:     s.tokens,
		Identifier: in.legacy.identifier(s.authentication, authsql.NewUsers(in.db)),
		Cookie: authhttp.CookieOptions{
			Name:     in.cfg.Cookie.Name,
			Domain:   in.cfg.Cookie.Domain,
			Secure:   in.cfg.Cookie.Secure,
			SameSite: in.cfg.Cookie.SameSite,
		},
		Mixed:        in.loginsMixed,
		LogoutFailed: in.logoutFailed,
	}
	authenticated := authhttp.Authenticate(auth)
	authhttp.Register(root, s.authentication, auth)
	authhttp.RegisterUsers(root, s.directory, authenticated)
	authhttp.RegisterAdministration(root, s.administration, s.deleter, auth)
	audithttp.Register(root, s.audit, authenticated)
	invitationhttp.Register(root, s.invitations, invitationLogin{auth}, authenticated)
	invitationpage.Register(root)
	subscriptionhttp.Register(root, s.subscriptions, authenticated)
	subscriptionhttp.RegisterPlans(root, s.plans, authenticated)
	projecthttp.Register(root, s.reading, authenticated, auth.Still, cmp.Or(in.streamCheck, projecthttp.CheckEvery))
}

// hashInTurns has the passwords of a request hashed in its network's turn. All clients without a known address share one.
func hashInTurns(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		client := authentication.Client{IP: httpserver.ClientAddress(c)}
		r := c.Request()
		c.SetRequest(r.WithContext(password.WithClient(r.Context(), client.Network())))
		return next(c)
	}
}

// recordOrigin says where entries of the record come from.
func recordOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		origin := audit.Origin{
			RequestID: c.Response().Header().Get(echo.HeaderXRequestID),
			Agent:     r.UserAgent(),
		}
		if ip := httpserver.ClientAddress(c); ip.IsValid() {
			origin.IP = ip.String()
		}
		c.SetRequest(r.WithContext(audit.WithOrigin(r.Context(), origin)))
		return next(c)
	}
}

// logCallers logs whose pages may call the api, and which proxies it believes.
func (in *infra) logCallers() {
	origins := in.cfg.HTTP.Origins
	if in.cfg.HTTP.LocalOrigins {
		origins = []string{"http://localhost:*", "http://127.0.0.1:*"}
	}
	if len(origins) == 0 {
		in.log.Warn().Msg("no page of another origin may call; set CORS_ORIGINS to the front end's origin unless it is the api's own")
	} else {
		in.log.Info().Strs("origins", origins).Msg("pages of these origins may call")
	}
	if len(in.cfg.HTTP.Proxies) == 0 {
		in.log.Info().Msg("TRUSTED_PROXIES is none: where a proxy is in front, every client has its address")
	} else {
		proxies := make([]string, 0, len(in.cfg.HTTP.Proxies))
		for _, p := range in.cfg.HTTP.Proxies {
			proxies = append(proxies, p.String())
		}
		in.log.Info().Strs("proxies", proxies).Msg("the X-Forwarded headers of these proxies count")
	}
}

// newEcho returns a server without routes. durations, where there is one, measures its requests.
func (in *infra) newEcho(durations prometheus.Registerer, routes map[string]httpserver.Limits) *echo.Echo {
	return httpserver.New(httpserver.Options{
		Log:     in.log,
		Prefix:  "/identity",
		Origins: httpserver.Origins{Listed: in.cfg.HTTP.Origins, Local: in.cfg.HTTP.LocalOrigins},
		Proxies: in.cfg.HTTP.Proxies,

		ClientUnknown: in.clientUnknown,
		Tracer:        in.tracer(),
		Metrics:       durations,
		Timeout:       requestTimeout,
		Routes:        routes,
		Explain:       database.Explain, // a database that is unavailable is no fault of ours
		Wordings:      map[string]httpserver.Wording{"vi": vietnamese},
	})
}

func (in *infra) registerMetrics(e *echo.Echo) {
	getOrHead(e, "/metrics", echo.WrapHandler(promhttp.HandlerFor(
		in.metrics.registry, promhttp.HandlerOpts{Registry: in.metrics.registry})))
}

// registerDocs serves the contract and a page to read it with; nothing is loaded from elsewhere.
func registerDocs(e *echo.Echo) {
	getOrHead(e, "/openapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", openapi.OpenAPI) })
	getOrHead(e, "/asyncapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", openapi.AsyncAPI) })
	getOrHead(e, "/schemas/*", echo.WrapHandler(http.FileServerFS(openapi.Schemas)))
	page := echo.WrapHandler(swagger.New("SMAP Identity Service", "/openapi.yaml", "/docs/"))
	for _, path := range []string{"/docs", "/docs/*"} {
		getOrHead(e, path, func(c echo.Context) error {
			// The page brings its script and style inline and draws its icons from data URLs.
			c.Response().Header().Set(echo.HeaderContentSecurityPolicy,
				"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'")
			return page(c)
		})
	}
}

// serve returns the role of an HTTP server on l. At the stop it reports "draining" and goes on serving for DRAIN_DELAY.
// Requests in flight get half of the time a stop may take: the relay, the broker and the database come after them.
func (in *infra) serve(e *echo.Echo, l net.Listener) run {
	return func(ctx context.Context) error {
		context.AfterFunc(ctx, func() { in.health.draining.Store(true) })
		return httpserver.Serve(ctx, e, l, httpserver.Drain{
			Delay:   in.cfg.Service.DrainDelay,
			Timeout: in.cfg.Service.ShutdownTimeout / 2,
		})
	}
}

// serveInternal serves other services and operators where they have a port of their own.
func (a *App) serveInternal(ctx context.Context) error {
	if a.internalListener == nil {
		<-ctx.Done()
		return nil
	}
	return a.serve(a.internal, a.internalListener)(ctx)
}
