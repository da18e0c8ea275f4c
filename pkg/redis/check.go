package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Warnings returns why the server's configuration is unfit to keep state (docs/adr/0003), and nothing when it is fit.
// The server must never evict, because maxmemory-policy is per server and affects every database, and it must write an
// append-only file. An error means that the server did not reply.
//
// It reads INFO, which most hosted servers allow while they refuse CONFIG. A server that does not report a setting gets
// a warning as well.
func Warnings(ctx context.Context, c *redis.Client) ([]string, error) {
	info, err := c.Info(ctx).Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		info = "" // the server is available and refuses INFO
	} else if err != nil {
		return nil, fmt.Errorf("redis: %s does not reply: %w", c.Options().Addr, err)
	}
	return warningsIn(info), nil
}

func warningsIn(info string) []string {
	var warnings []string
	switch policy := field(info, "maxmemory_policy"); policy {
	case "noeviction":
	case "":
		warnings = append(warnings, "the server does not report its maxmemory-policy; make sure it is noeviction")
	default:
		warnings = append(warnings, fmt.Sprintf("maxmemory-policy is %s: state can be evicted; set it to noeviction", policy))
	}
	switch field(info, "aof_enabled") {
	case "1":
	case "":
		warnings = append(warnings, "the server does not report whether it writes an append-only file; make sure appendonly is yes")
	default:
		warnings = append(warnings, "appendonly is no: a crash loses what was written since the last snapshot; set it to yes")
	}
	return warnings
}

// field returns the value of the line "name:value" of INFO.
func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
