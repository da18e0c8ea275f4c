package usecase

import (
	"strings"
	"sync"
)

// What makes failures that each name one mail a refusal of this service: so many mails, to so many domains.
const (
	streakMails   = 5
	streakDomains = 3
)

// streak recognises a server that refuses one mail after another for the same reason, although each of its replies could
// be about that mail alone. One accepted mail ends it. It is safe for concurrent use.
type streak struct {
	mu       sync.Mutex
	refusals map[string]*refusals // by class of error
}

// refusals are some of the mails that failed with one class since the last accepted one: enough to judge by.
type refusals struct{ mails, domains map[string]bool }

// failed counts a mail that failed with class and reports whether the server refuses this service.
func (s *streak) failed(class, eventID, recipient string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refusals == nil {
		s.refusals = map[string]*refusals{}
	}
	r := s.refusals[class]
	if r == nil {
		r = &refusals{mails: map[string]bool{}, domains: map[string]bool{}}
		s.refusals[class] = r
	}
	if len(r.mails) < streakMails {
		r.mails[eventID] = true
	}
	if len(r.domains) < streakDomains {
		r.domains[domainOf(recipient)] = true
	}
	return len(r.mails) == streakMails && len(r.domains) == streakDomains
}

// accepted ends the streak.
func (s *streak) accepted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.refusals)
}

func domainOf(address string) string {
	return strings.ToLower(strings.Trim(address[strings.LastIndexByte(address, '@')+1:], "> "))
}
