package smtptest

import (
	"fmt"
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

// Rule is what happens at one verb. Build it with At and its methods, which
// return a changed copy.
type Rule struct {
	verb  Verb
	code  int // 0: the normal answer
	delay time.Duration
	end   ending
	times int // 0: always
}

// At begins a rule; as it stands it gives the normal answer.
func At(verb Verb) Rule { return Rule{verb: verb} }

// Reply answers with a refusal, 400 to 599; another code panics. After a 421, or
// a refused greeting, the server closes the connection (RFC 5321 §3.8, §3.1).
func (r Rule) Reply(code int) Rule {
	if code < 400 || code > 599 {
		panic(fmt.Sprintf("smtptest: Reply(%d): only refusals (400 to 599) are scripted, success is the normal answer", code))
	}
	r.code = code
	return r
}

// Delay waits before whatever else the rule does. It ends early when the server
// is closed, not when the client gives up.
func (r Rule) Delay(d time.Duration) Rule {
	r.delay = d
	return r
}

// Hang never answers: the connection stays open, silent, until the server is closed.
func (r Rule) Hang() Rule {
	r.end = hang
	return r
}

// Cut closes the connection without an answer. At EndOfData this is the
// ambiguous case: the mail is here, the client does not know.
func (r Rule) Cut() Rule {
	r.end = cut
	return r
}

// AnswerAndCut answers and closes the connection at once. At EndOfData: 250,
// and no QUIT can follow. At Auth, which answers later, it is the same as Cut.
func (r Rule) AnswerAndCut() Rule {
	r.end = answerAndCut
	return r
}

// Times limits the rule to the first n times its verb is reached after Script;
// the next rule for this verb takes over, or the normal answer.
func (r Rule) Times(n int) Rule {
	r.times = n
	return r
}

// Script replaces all rules, for open connections as well, from the next verb
// on; what hangs or waits already is not disturbed. Without rules the server
// accepts everything. Of several rules for one verb the first that is not used
// up counts.
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

// reach counts a verb and takes the rule for it; the caller holds mu.
func (s *Server) reach(verb Verb) Rule {
	s.reached[verb]++
	s.signal()
	for _, r := range s.script {
		if r.verb != verb || r.times == 0 {
			continue
		}
		if r.times > 0 {
			r.times--
		}
		return *r
	}
	return At(verb)
}
