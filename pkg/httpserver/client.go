package httpserver

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"golang.org/x/time/rate"
)

const clientKey = "client"

// client is whom a request comes from.
type client struct {
	address netip.Addr
	unknown func()
}

// client records the client's address. unknown is called for each request that is to be limited and has none.
func (p Proxies) client(unknown func()) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			address, err := netip.ParseAddr(c.RealIP())
			if err != nil || p.trust(r) && address == peer(r) {
				address = netip.Addr{} // a proxy that does not say for whom it asks
			}
			c.Set(clientKey, client{address, unknown})
			return next(c)
		}
	}
}

// ClientAddress returns the client's address: the nearest one that is no proxy's, or what the nearest proxy says. It is the
// zero Addr when a proxy does not say, and for a server that [New] has not made.
func ClientAddress(c echo.Context) netip.Addr {
	found, _ := c.Get(clientKey).(client)
	return found.address
}

// PerMinute returns a middleware that lets each client make n requests a minute in this process, at once or spread, and
// responds 429 to more, before a body is read. A client is an address, of IPv6 a /64, which one household has. Clients
// without an address are not limited: together they would lock each other out.
func PerMinute(n int) echo.MiddlewareFunc {
	every := time.Minute / time.Duration(n)
	store := middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
		Rate: rate.Every(every), Burst: n, ExpiresIn: 2 * time.Minute,
	})
	return middleware.RateLimiterWithConfig(middleware.RateLimiterConfig{
		Store: store,
		Skipper: func(c echo.Context) bool {
			found, ok := c.Get(clientKey).(client)
			if ok && !found.address.IsValid() {
				found.unknown()
			}
			return !found.address.IsValid()
		},
		IdentifierExtractor: func(c echo.Context) (string, error) {
			address := ClientAddress(c)
			if address.Is6() {
				if network, err := address.WithZone("").Prefix(64); err == nil {
					return network.String(), nil
				}
			}
			return address.String(), nil
		},
		DenyHandler: func(c echo.Context, _ string, _ error) error {
			seconds := int(math.Ceil(every.Seconds()))
			c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(seconds))
			return echo.NewHTTPError(http.StatusTooManyRequests,
				fmt.Sprintf("Too many requests; try again in %d seconds", seconds))
		},
	})
}

// NotBefore returns a middleware that holds a response back until so much time has passed since its request came, so that
// the time says nothing about the work. A client that leaves is not waited for.
func NotBefore(d time.Duration) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			due := time.Now().Add(d)
			c.Response().Before(func() { // an error is written after the handler has returned
				left := time.NewTimer(time.Until(due))
				defer left.Stop()
				select {
				case <-left.C:
				case <-c.Request().Context().Done():
				}
			})
			return next(c)
		}
	}
}
