package redis

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/smap-platform/identity/pkg/tracing"
)

// spans shows every command in the trace of what it is for. A span has the command's name, and neither keys nor values.
type spans struct{}

// DialHook implements redis.Hook.
func (spans) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (spans) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		ctx, end := begin(ctx, cmd.Name())
		err := next(ctx, cmd)
		end(failure(err))
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (spans) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		ctx, end := begin(ctx, "pipeline")
		err := next(ctx, cmds)
		end(failure(err))
		return err
	}
}

func begin(ctx context.Context, command string) (context.Context, func(error)) {
	return tracing.Begin(ctx, "redis "+command, trace.SpanKindClient, semconv.DBSystemNameRedis, semconv.DBOperationName(command))
}

// failure returns err unless it says that there is no value, or that a script has to be sent, which the caller does next.
func failure(err error) error {
	if errors.Is(err, redis.Nil) || redis.HasErrorPrefix(err, "NOSCRIPT") {
		return nil
	}
	return err
}
