package mailer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// crowdedFor is how long a limit that the server has shown is kept to, before more connections are tried again. One that
// has passed must not keep a code behind a bulk mail. One that still holds costs a refused connection each time, and no
// mail a try.
const crowdedFor = 5 * time.Second

// refusedFor is the same for a server that refuses even one connection: long enough for those that wait to find out one
// by one.
const refusedFor = time.Second

// pool limits how many connections there are, and keeps those that no mail uses. Bulk mails hold half of them at most, and
// take none while another mail waits.
type pool struct {
	most int

	mu      sync.Mutex
	closed  bool
	idle    []*session // the last used one last
	held    int        // places in use
	bulk    int        // those of them that bulk mails hold
	waiting int        // mails that wait and are not bulk
	changed chan struct{}

	// limit is what the server takes for now, most or less. It ends at until.
	limit int
	until time.Time
}

func newPool(most int) *pool {
	return &pool{most: most, limit: most, changed: make(chan struct{})}
}

// enter waits for a place. It returns an idle session, or nil when the caller has to open one.
func (p *pool) enter(ctx context.Context, bulk bool) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !bulk {
		p.waiting++
		defer func() {
			p.waiting--
			p.rouse() // a bulk mail may have waited for this one
		}()
	}
	for !p.admits(bulk) {
		changed := p.changed
		var ended <-chan time.Time
		if p.limit < p.most {
			ended = time.After(time.Until(p.until))
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ended: // more connections may be tried
		case <-ctx.Done():
		}
		p.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	p.held++
	if bulk {
		p.bulk++
	}
	last := len(p.idle) - 1
	if last < 0 {
		return nil, nil
	}
	s := p.idle[last]
	p.idle = p.idle[:last]
	s.expiry.Stop()
	return s, nil
}

// admits reports whether a mail may have a place now. p.mu is held.
func (p *pool) admits(bulk bool) bool {
	if p.limit < p.most && !time.Now().Before(p.until) {
		p.limit = p.most
	}
	if bulk && (p.waiting > 0 || p.bulk >= max(1, p.limit/2)) {
		return false
	}
	return p.held < p.limit
}

// leave gives a place back. It reports whether s is kept; nil is a connection that has ended.
func (p *pool) leave(s *session, bulk bool) (kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held--
	if bulk {
		p.bulk--
	}
	if kept = s != nil && !p.closed && p.held+len(p.idle) < p.limit; kept {
		p.idle = append(p.idle, s)
	}
	p.rouse()
	return kept
}

// rouse wakes all that wait. p.mu is held.
func (p *pool) rouse() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// remove takes an idle session out, and reports whether it was there.
func (p *pool) remove(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, s)
	if i < 0 {
		return false
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	return true
}

// drop closes the sessions that have been idle since then or longer.
func (p *pool) drop(then time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(s *session) bool {
		if s.idleSince.After(then) {
			return false
		}
		s.expiry.Stop()
		s.close()
		return true
	})
}

// crowded lowers the limit, because the server has refused a connection, to those that are open besides. It reports
// whether there are any.
func (p *pool) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	others := p.held - 1 + len(p.idle)
	if others < 1 {
		// It refuses even one, so what it has shown before was no limit.
		p.until = time.Now().Add(refusedFor)
		return false
	}
	p.limit = min(p.limit, others)
	p.until = time.Now().Add(crowdedFor)
	return true
}

// close returns the idle sessions, for the caller to end, and keeps none from now on.
func (p *pool) close() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	for _, s := range idle {
		s.expiry.Stop()
	}
	return idle
}
