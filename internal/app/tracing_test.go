package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
)

func TestSpansGoWhereTheSpecificationPutsThem(t *testing.T) {
	for name, path := range map[string]string{"": "/v1/traces", "/otlp": "/otlp/v1/traces", "/otlp/": "/otlp/v1/traces"} {
		asked := make(chan string, 1)
		collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
		provider, err := newTracing(t.Context(), config.Service{OTLPEndpoint: collector.URL + name}, "api", "test")
		require.NoError(t, err)
		_, span := provider.Tracer("test").Start(t.Context(), "work")
		span.End()
		require.NoError(t, provider.Shutdown(t.Context()), "flushes")
		require.Equal(t, path, <-asked)
		collector.Close()
	}
}
