package httpserver

import "sync"

// Places bound how many requests are served at a time: those of one key, and all. It is safe for concurrent use.
type Places struct {
	PerKey  int
	KeyFull error // for a request whose key has all of its places taken
	Total   int   // 0: as many as come
	Full    error // for any other request when all places are taken

	mu    sync.Mutex
	taken map[string]int
	all   int
}

// Enter takes a place, and returns the function that gives it back. Call that once.
func (p *Places) Enter(key string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken[key] >= p.PerKey {
		return nil, p.KeyFull
	}
	if p.Total > 0 && p.all >= p.Total {
		return nil, p.Full
	}
	if p.taken == nil {
		p.taken = map[string]int{}
	}
	p.taken[key]++
	p.all++
	return func() { p.leave(key) }, nil
}

func (p *Places) leave(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.taken[key]--; p.taken[key] == 0 {
		delete(p.taken, key)
	}
}
