package app

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/labstack/echo/v4"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication/password"
	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestHashInTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const cost = 10
		hasher := password.New()
		served := make(chan string, 10)
		e := httpserver.New(httpserver.Options{
			Log:     zerolog.Nop(),
			Proxies: httpserver.Proxies{netip.MustParsePrefix("10.0.0.0/8")},
		})
		e.Use(hashInTurns)
		e.POST("/", func(c echo.Context) error {
			leave, err := hasher.Enter(c.Request().Context(), cost)
			if err != nil {
				return err
			}
			served <- c.QueryParam("name")
			leave()
			return c.NoContent(http.StatusNoContent)
		})
		var leaves []func()
		for range runtime.GOMAXPROCS(0) {
			leave, err := hasher.Enter(t.Context(), cost)
			require.NoError(t, err)
			leaves = append(leaves, leave)
		}
		var all sync.WaitGroup
		for _, r := range []struct{ name, peer string }{
			{"a network", "203.0.113.7:1"}, {"the same", "203.0.113.8:1"}, {"the same once more", "203.0.113.7:2"},
			{"another", "198.51.100.1:1"},
			{"unknown behind a proxy", "10.0.0.1:1"}, {"another unknown", "10.0.0.2:1"},
		} {
			all.Go(func() {
				request := httptest.NewRequest(http.MethodPost, "/", nil)
				request.RemoteAddr = r.peer
				request.URL.RawQuery = url.Values{"name": {r.name}}.Encode()
				e.ServeHTTP(httptest.NewRecorder(), request)
			})
			synctest.Wait()
		}
		leaves[0]()
		all.Wait()
		for _, want := range []string{
			"a network", "another", "unknown behind a proxy", "the same", "another unknown", "the same once more",
		} {
			require.Equal(t, want, <-served)
		}
		for _, leave := range leaves[1:] {
			leave()
		}
	})
}
