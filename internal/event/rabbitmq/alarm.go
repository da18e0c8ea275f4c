package rabbitmq

import (
	"fmt"
	"strings"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/rs/zerolog"
)

// Alarm is whether the broker takes messages on one connection: under a memory or disk alarm it does not. It notifies a
// connection when it gets the first message on it, which it then takes once the alarm is over: also when the connection
// has been closed meanwhile, because it reads on what had arrived.
type Alarm struct{ reason atomic.Pointer[string] }

// Watch follows notices until they end with the connection.
func (a *Alarm) Watch(notices <-chan amqp.Blocking, log zerolog.Logger) {
	for n := range notices {
		if n.Active {
			reason := shortage(n.Reason)
			a.reason.Store(&reason)
			log.Warn().Str("reason", reason).Msg("rabbitmq takes no messages; the outbox keeps them")
		} else {
			a.reason.Store(nil)
			log.Info().Msg("rabbitmq takes messages again")
		}
	}
}

// Raised reports whether the broker takes no messages.
func (a *Alarm) Raised() bool { return a.reason.Load() != nil }

// Err returns nil while the broker takes messages, and else an error that says what it is short of.
func (a *Alarm) Err() error {
	if reason := a.reason.Load(); reason != nil {
		return fmt.Errorf("rabbitmq takes no messages: %s", *reason)
	}
	return nil
}

// shortage returns what the broker is short of, in words of ours.
func shortage(said string) string {
	for _, resource := range []string{"memory", "disk"} {
		if strings.Contains(said, resource) {
			return "low on " + resource
		}
	}
	return "a resource alarm"
}
