package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// probe does to KEYS[1] what changes of state do: it writes every kind of value, by a script. The other keys are only
// named, for the server to judge whether the user may have them.
var probe = redis.NewScript(`
redis.call('UNLINK', KEYS[1])
redis.call('HSET', KEYS[1], 'probe', 1)
redis.call('UNLINK', KEYS[1])
redis.call('SADD', KEYS[1], 'probe')
redis.call('UNLINK', KEYS[1])
redis.call('ZADD', KEYS[1], 1, 'probe')
redis.call('UNLINK', KEYS[1])
return redis.call('SET', KEYS[1], 1, 'EX', 60)`)

// Check returns an error, in plain words, when the server cannot keep state now: it writes key, which expires after a
// minute, with a script, the user must have the right to others, which it leaves alone, and the server must be no
// replica. The warnings are why its configuration is unfit to keep state
// (docs/adr/0003), and empty when it is fit: it must never evict, because maxmemory-policy is per server and affects every
// database, and it must write an append-only file.
//
// It reads INFO, which most hosted servers allow while they refuse CONFIG. A server that does not report a setting gets
// a warning as well. Neither the error nor a warning has an address or a text of the server.
func Check(ctx context.Context, c redis.UniversalClient, key string, others ...string) (warnings []string, err error) {
	if err := probe.Run(ctx, c, append([]string{key}, others...)).Err(); err != nil {
		return nil, errors.New("redis " + Reason(err))
	}
	info, err := c.Info(ctx).Result()
	if _, refused := errors.AsType[redis.Error](err); refused {
		info = "" // the server is available and refuses INFO
	} else if err != nil {
		return nil, errors.New("redis " + Reason(err))
	}
	if role := field(info, "role"); role != "" && role != "master" {
		return nil, errors.New("redis is a replica: what is written there is lost")
	}
	return warningsIn(info), nil
}

// CheckChannels returns an error, in plain words, when the user may not use the channels of these patterns. It listens to
// them for a moment on a connection of its own, and publishes nothing.
func CheckChannels(ctx context.Context, c *redis.Client, patterns ...string) error {
	listening := c.PSubscribe(ctx)
	defer func() { _ = listening.Close() }()
	err := listening.PSubscribe(ctx, patterns...)
	for confirmed := 0; err == nil && confirmed < len(patterns); {
		var received any
		if received, err = listening.Receive(ctx); err == nil {
			if _, ok := received.(*redis.Subscription); ok { // and no message between two of them
				confirmed++
			}
		}
	}
	if err != nil {
		return errors.New("redis " + Reason(err))
	}
	return nil
}

const (
	denied   = "denies the user a command, a key or a channel: extend the rights of REDIS_USERNAME"
	password = "refuses the password: check REDIS_PASSWORD and REDIS_USERNAME"
)

// reasons are what a server's refusal means, by the first word of it.
var reasons = map[string]string{
	"NOAUTH":      "wants a password: set REDIS_PASSWORD",
	"WRONGPASS":   password,
	"NOPERM":      denied,
	"READONLY":    "is read-only: it is a replica",
	"NOREPLICAS":  "refuses writes: it has too few replicas",
	"OOM":         "refuses writes: it is out of memory (maxmemory)",
	"MISCONF":     "refuses writes: it cannot save to its disk",
	"MASTERDOWN":  "is a replica whose master is down",
	"LOADING":     "is loading its data",
	"BUSY":        "is busy with a script",
	"NOSCRIPT":    "does not keep scripts",
	"MOVED":       "is a cluster, which is not supported",
	"CLUSTERDOWN": "is a cluster without quorum",
}

var code = regexp.MustCompile(`^[A-Z]{2,20}\b`)

// phrases are what it means where the first word does not say it, by what it contains.
var phrases = []struct{ phrase, reason string }{
	{"DB index", "has no database of that number: check REDIS_STATE_DB and REDIS_CACHE_DB"},
	{"AUTH", password},
	{"password", password},
	{"user executing the script", denied},
	{"number of clients", "has no connection left (maxclients)"},
	{"cluster", "is a cluster, which is not supported"},
}

// Reason returns what err means in plain words that continue "redis …". They contain neither an address nor a server's
// text.
func Reason(err error) string {
	if strings.Contains(err.Error(), "all sentinels specified") { // go-redis has no type for it
		return "cannot be found: " + unnamed(err)
	}
	refusal, refused := errors.AsType[redis.Error](err)
	if !refused {
		return silence(err)
	}
	text := refusal.Error()
	word := code.FindString(text)
	if reason := reasons[word]; reason != "" {
		return reason
	}
	for _, p := range phrases {
		if strings.Contains(text, p.phrase) {
			return p.reason
		}
	}
	if word != "" && word != "ERR" {
		return "refuses commands (" + word + ")"
	}
	return "refuses commands"
}

// unnamed returns why no Sentinel says where the server is.
func unnamed(err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, redis.Nil):
		return "the Sentinels know no server by the name in REDIS_SENTINEL_MASTER"
	case strings.Contains(text, "AUTH"), strings.Contains(text, "WRONGPASS"):
		return "the Sentinels refuse the password; check REDIS_SENTINEL_PASSWORD"
	case strings.Contains(text, "tls: "), strings.Contains(text, "x509: "):
		return "the Sentinels cannot be spoken to with TLS; check REDIS_TLS and their certificates"
	default:
		return "none of REDIS_SENTINEL_ADDRS answers"
	}
}

// silence returns why there is no reply, with the settings to check where it may be one of them.
func silence(err error) string {
	_, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isTimeout := errors.AsType[net.Error](err)
	switch {
	case isDNS:
		return "does not answer: the name in REDIS_HOST is not known"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "does not answer: nothing listens at REDIS_HOST and REDIS_PORT"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return "cannot be spoken to with TLS: check REDIS_TLS and the server's certificate"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return "does not answer: it closes the connection; check REDIS_PORT and REDIS_TLS"
	case isTimeout && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "does not answer in time; if it never has, check REDIS_HOST, REDIS_PORT and REDIS_TLS"
	default:
		return "does not answer"
	}
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
	used, _ := strconv.ParseFloat(field(info, "used_memory"), 64)
	if limit, _ := strconv.ParseFloat(field(info, "maxmemory"), 64); limit > 0 && used > 0.9*limit {
		warnings = append(warnings, "more than 90 % of maxmemory are used: writes are refused once it is full; raise it")
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
