package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
)

// RouteLogs writes what go-redis would print to stderr to log, as warnings but for the news of Sentinels; zerolog.Nop() silences it. It affects every
// client of the process: call it before the first [Open], and with none open. The lines are about connections and quote neither keys
// nor values.
func RouteLogs(log zerolog.Logger) {
	redis.SetLogger(logger{log.With().Str("component", "redis").Logger()})
}

type logger struct{ log zerolog.Logger }

// Printf implements go-redis's logging interface.
func (l logger) Printf(_ context.Context, format string, v ...any) {
	level := zerolog.WarnLevel
	for _, news := range []string{"sentinel: selected", "sentinel: discovered", "sentinel: new master"} {
		if strings.HasPrefix(format, news) {
			level = zerolog.InfoLevel
		}
	}
	l.log.WithLevel(level).Msg(fmt.Sprintf(format, v...))
}
