package smtptest

import (
	"fmt"
	"slices"
	"time"
)

// Verb is a step of the dialogue at which the server can be told to misbehave.
type Verb string

// The steps, in the order in which a mail meets them.
const (
	Greeting  Verb = "greeting" // the connection is open (and encrypted, with ImplicitTLS)
	Ehlo      Verb = "EHLO"     // HELO, too
	Upgrade   Verb = "STARTTLS" // before the handshake
	Auth      Verb = "AUTH"     // before the credentials are asked for or looked at
	Mail      Verb = "MAIL"
	Rcpt      Verb = "RCPT"        // each recipient
	Data      Verb = "DATA"        // the command, before the mail is sent
	EndOfData Verb = "end of data" // the final dot has come; the mail is recorded
	Quit      Verb = "QUIT"
)

type ending int

const (
	answer ending = iota
	hang
	cut
	answerAndCut
)

// Rule is what happens at one verb. Build it with [At] and its methods, which return a changed copy.
type Rule struct {
	verb  Verb
	code  int    // 0: the normal reply
	text  string // of the refusal; empty: an enhanced code that says as little as it can
	delay time.Duration
	until <-chan struct{} // nil: for delay
	end   ending
	times int                         // 0: always
	after int                         // mails that have to have come over the connection before
	to    func(recipient string) bool // nil: every recipient
}

// At returns a rule that gives the normal reply.
func At(verb Verb) Rule { return Rule{verb: verb} }

// Reply refuses with a code from 400 to 599, and panics on another. After a 421, or a refused greeting, the server
// closes the connection (RFC 5321 §3.8, §3.1).
func (r Rule) Reply(code int) Rule {
	if code < 400 || code > 599 {
		panic(fmt.Sprintf("smtptest: Reply(%d): only refusals (400 to 599) are scripted, success is the normal reply", code))
	}
	r.code = code
	return r
}

// Text replaces what follows the code of Reply, the enhanced code included: "5.1.1 no such user".
func (r Rule) Text(text string) Rule {
	r.text = text
	return r
}

// Delay waits before everything else the rule does. It ends early when the server is closed, not when the client gives
// up.
func (r Rule) Delay(d time.Duration) Rule {
	r.delay = d
	return r
}

// Until waits until a channel is closed, as Delay does for a time.
func (r Rule) Until(closed <-chan struct{}) Rule {
	r.until = closed
	return r
}

// waits reports whether the rule waits before everything else it does.
func (r Rule) waits() bool { return r.delay > 0 || r.until != nil }

// Hang never replies: the connection stays open until the server is closed.
func (r Rule) Hang() Rule {
	r.end = hang
	return r
}

// Cut closes the connection without a reply. At EndOfData the outcome is ambiguous for the client: the mail is
// recorded.
func (r Rule) Cut() Rule {
	r.end = cut
	return r
}

// AnswerAndCut replies and closes the connection at once. At EndOfData it replies 250, and no QUIT can follow. At Auth,
// which replies later, it is the same as Cut.
func (r Rule) AnswerAndCut() Rule {
	r.end = answerAndCut
	return r
}

// Times limits the rule to the first n times its verb is reached after Script. Then the next rule for this verb
// applies, or the normal reply.
func (r Rule) Times(n int) Rule {
	r.times = n
	return r
}

// AfterMails limits the rule to connections over which n mails have come up to their final dot.
func (r Rule) AfterMails(n int) Rule {
	r.after = n
	return r
}

// To limits the rule to mails with a recipient that match accepts, at Rcpt, Data and EndOfData. At any other verb the
// recipient is not known, and the rule never applies.
func (r Rule) To(match func(recipient string) bool) Rule {
	r.to = match
	return r
}

// Script replaces all rules, for open connections as well, from the next verb on. What already hangs or waits is not
// disturbed. Without rules the server accepts everything. Of several rules for one verb the first that is not used up
// applies.
func (s *Server) Script(rules ...Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = nil
	for _, r := range rules {
		if r.times == 0 {
			r.times = -1
		}
		s.script = append(s.script, &r)
	}
}

// nextRule counts a verb and returns the rule for it, on a connection over which so many mails have come.
func (s *Server) nextRule(verb Verb, recipients []string, mails int) Rule {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextRuleLocked(verb, recipients, mails)
}

// nextRuleLocked is nextRule for a caller that holds mu.
func (s *Server) nextRuleLocked(verb Verb, recipients []string, mails int) Rule {
	s.reached[verb]++
	s.signal()
	for _, r := range s.script {
		if r.verb != verb || r.times == 0 || mails < r.after || r.to != nil && !slices.ContainsFunc(recipients, r.to) {
			continue
		}
		if r.times > 0 {
			r.times--
		}
		return *r
	}
	return At(verb)
}
