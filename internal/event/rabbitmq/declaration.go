package rabbitmq

import (
	"time"

	"github.com/smap-platform/identity/pkg/rabbitmq"
)

// healDelay is how long after an unroutable message the topology is declared anew. Not at once: a quorum queue that is
// declared again within some 30 ms of its deletion (measured on 3.10) keeps its consumers in name only; they are not
// cancelled, and get nothing for ever.
const healDelay = time.Second

// knows reports whether exchange is there as far as this session knows: the topology declares it, or it is the default
// one. Publishing to an exchange that is missing would end the connection for all other messages.
func (s *publishSession) knows(exchange string) bool {
	return exchange == "" || s.publisher.topology.declares(exchange)
}

// heal has the topology declared anew after healDelay: a queue or binding was deleted.
func (s *publishSession) heal() {
	if !s.healing.CompareAndSwap(false, true) {
		return
	}
	time.AfterFunc(healDelay, func() {
		defer s.healing.Store(false)
		select {
		case <-s.ended: // the next connection declares it anyway
			return
		default:
		}
		log := s.publisher.options.Log
		if _, err := s.publisher.topology.Declare(s.conn); err != nil {
			log.Error().Err(rabbitmq.Plain(err)).Msg("a message was unroutable and the topology cannot be declared")
			return
		}
		log.Warn().Msg("a message was unroutable; the topology has been declared anew")
	})
}
