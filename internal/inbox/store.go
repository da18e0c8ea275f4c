package inbox

import (
	"slices"
	"strings"
	"sync"
)

// store keeps the newest mails in the order of their arrival.
type store struct {
	capacity int

	mu      sync.Mutex
	mails   []Message // oldest first
	first   uint64    // the position of mails[0]: how many mails have left the front
	clears  uint64    // how often clear was called
	changed chan struct{}
}

func newStore(capacity int) *store {
	return &store{capacity: capacity, changed: make(chan struct{})}
}

func (s *store) add(mails ...Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, mails...)
	if over := len(s.mails) - s.capacity; over > 0 {
		s.mails = slices.Delete(s.mails, 0, over)
		s.first += uint64(over)
	}
	s.signal()
}

func (s *store) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first += uint64(len(s.mails))
	s.mails = nil
	s.clears++
	s.signal()
}

// signal wakes every holder of the channel of changes; the caller holds mu.
func (s *store) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// changes returns a channel that is closed by the next add or clear.
func (s *store) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// list returns the mails to an address, all when it is empty, newest first and never nil.
func (s *store) list(to string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	to = strings.TrimSpace(to)
	found := []Message{}
	for _, m := range slices.Backward(s.mails) {
		if to == "" || strings.EqualFold(m.To, to) {
			found = append(found, m)
		}
	}
	return found
}

func (s *store) get(id string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mails {
		if m.ID == id {
			return m, true
		}
	}
	return Message{}, false
}

// cursor is how far one reader of the store has come.
type cursor struct {
	position uint64
	clears   uint64
}

// since returns the mails that came after the cursor, oldest first, the cursor behind them, and the channel of the next
// change. Mails that were pushed out in between are not among them. A clear shows as a different cursor.clears.
func (s *store) since(c cursor) ([]Message, cursor, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := max(c.position, s.first) - s.first
	next := cursor{position: s.first + uint64(len(s.mails)), clears: s.clears}
	return slices.Clone(s.mails[from:]), next, s.changed
}
