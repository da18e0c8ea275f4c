package config

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/viper"
)

const (
	maxPort  = 65535
	keyBytes = 32
)

// reader turns variables into values and collects the invalid ones. For a variable that its role does not use it
// returns the zero value, so that a setting meant for another program is never in the way.
type reader struct {
	role     Role
	env      *viper.Viper
	problems Problems
}

func newReader(role Role) *reader {
	env := viper.New()
	env.AutomaticEnv() // an empty variable counts as unset: AllowEmptyEnv is off by default
	for _, v := range variables {
		env.SetDefault(v.name, v.fallbackFor(role))
	}
	return &reader{role: role, env: env}
}

// raw returns the value as it is, "" when its role does not use it.
func (r *reader) raw(name string) string {
	if !r.role.uses(name) {
		return ""
	}
	return r.env.GetString(name)
}

// text returns the value without surrounding white space.
func (r *reader) text(name string) string {
	return strings.TrimSpace(r.raw(name))
}

// secret returns the value byte by byte: other services verify with the same bytes.
func (r *reader) secret(name string) Secret {
	return Secret(r.raw(name))
}

// list returns the entries between commas, without surrounding white space and the empty ones.
func (r *reader) list(name string) (entries []string) {
	for entry := range strings.SplitSeq(r.text(name), ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

func (r *reader) key(name string) Key {
	value := r.text(name)
	if value == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(key) != keyBytes {
		r.wrong(name, "is not the base64 form of 32 bytes", "make one with: openssl rand -base64 32")
		return nil
	}
	return key
}

func (r *reader) oneOf(name string, values ...string) string {
	value := strings.ToLower(r.text(name))
	if r.role.uses(name) && !slices.Contains(values, value) {
		r.wrong(name, fmt.Sprintf("is %q", value), "set it to one of "+strings.Join(values, ", "))
	}
	return value
}

func (r *reader) integer(name string, lowest, highest int) int {
	fix := fmt.Sprintf("set it to a whole number from %d to %d", lowest, highest)
	if strings.HasPrefix(r.text(name), "tcp://") {
		fix += " (Kubernetes sets it for a service of that name unless the pod has enableServiceLinks: false)"
	}
	return parse(r, name, fix, strconv.Atoi, func(n int) bool { return lowest <= n && n <= highest })
}

func (r *reader) boolean(name string) bool {
	return parse(r, name, "set it to true or false", strconv.ParseBool, func(bool) bool { return true })
}

// duration parses Go's notation, as in 1m30s.
func (r *reader) duration(name string, shortest, longest time.Duration) time.Duration {
	fix := fmt.Sprintf("set it to a duration such as 30s or 2m, from %s to %s", shortest, longest)
	return parse(r, name, fix, time.ParseDuration, func(d time.Duration) bool { return shortest <= d && d <= longest })
}

// parse returns the value behind the variable's text, and the zero value when it is empty, cannot be read or is not
// valid.
func parse[T any](r *reader, name, fix string, read func(text string) (T, error), valid func(T) bool) (zero T) {
	text := r.text(name)
	if text == "" {
		return zero
	}
	value, err := read(text)
	if err != nil || !valid(value) {
		r.wrong(name, fmt.Sprintf("is %q", text), fix)
		return zero
	}
	return value
}

// seconds parses a whole number of seconds.
func (r *reader) seconds(name string, shortest, longest time.Duration) time.Duration {
	n := r.integer(name, int(shortest/time.Second), int(longest/time.Second))
	return time.Duration(n) * time.Second
}

func (r *reader) wrong(name, wrong, fix string) {
	r.problems = append(r.problems, Problem{name, wrong, fix})
}
