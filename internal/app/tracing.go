package app

import (
	"context"
	"fmt"
	"net/url"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/smap-platform/identity/config"
)

// newTracing returns a provider that gives every request a trace id, and exports spans only when a collector is
// configured. Shut it down last.
func newTracing(ctx context.Context, cfg config.Service, name, version string) (*sdktrace.TracerProvider, error) {
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("identity-"+name), semconv.ServiceVersion(version))),
	}
	if cfg.OTLPEndpoint != "" {
		// The OTLP specification puts traces below the base URL; WithEndpointURL would take it as it stands.
		endpoint, err := url.JoinPath(cfg.OTLPEndpoint, "v1/traces")
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT is not usable: %w", err)
		}
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
		if err != nil {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT is not usable: %w", err)
		}
		options = append(options, sdktrace.WithBatcher(exporter))
	}
	return sdktrace.NewTracerProvider(options...), nil
}
