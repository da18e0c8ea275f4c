package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// section is the time of one fault: from its beginning until the next one begins.
type section struct {
	fault         *fault
	began, healed time.Time
	err           error // the fault could not be injected, or what it checks does not hold
	notes         []string
}

// truth is what is found once all is quiet.
type truth struct {
	exists   map[string]bool // addresses of users in the database
	active   map[string]bool // of those who have proven theirs
	resends  map[string]int  // flagged repeats of a mail, by event
	states   map[string]string
	attempts func(to string) []attempt
}

// row is a line of the table.
type row struct {
	name                     string
	sent, delivered          int
	lost, doubled, repeated  int
	refusedAnswers, noAnswer int
	worstMail, worstAnswer   time.Duration
	recovery                 time.Duration
	complaints               []string
}

const (
	// prompt is how late a mail is at most that does not suffer from the fault any more.
	prompt = 2 * time.Second
	// recoverWithin is how soon after the fault every registration has to succeed and to be mailed promptly.
	recoverWithin = 10 * time.Second
	// settling is how long after a fault a mail may still have been in hand since before.
	settling = 3 * time.Second
)

// judge returns the lines of the table, one per section, and how late a mail was at most that counted as prompt.
func judge(sections []*section, mails []owed, t truth) (rows []*row, inTime time.Duration) {
	rows = make([]*row, len(sections))
	lastBad := make([]time.Time, len(sections))
	for i, s := range sections {
		rows[i] = &row{name: s.fault.name}
	}
	inTime = prompt
	for _, o := range mails { // on a machine that is slow with nothing wrong, everything is
		if came := first(t.attempts(o.to)); o.section == 0 && o.probe && !came.IsZero() {
			inTime = max(inTime, 2*came.Sub(o.began))
		}
	}
	for _, o := range mails {
		r, s := rows[o.section], sections[o.section]
		r.answered(o)
		prompted := r.delivery(o, t, sections) <= inTime
		undisturbed := o.section == len(sections)-1 || o.began.Add(inTime).Before(sections[o.section+1].began)
		if o.probe && undisturbed && !o.began.Before(s.healed) && (o.answer != promised || !prompted) {
			lastBad[o.section] = latest(lastBad[o.section], o.began)
		}
	}
	for i, s := range sections {
		r := rows[i]
		if !lastBad[i].IsZero() {
			r.recovery = lastBad[i].Sub(s.healed)
		}
		if s.err != nil {
			r.complain("%v", s.err)
		}
		if r.sent == 0 {
			r.complain("nothing was sent: the line proves nothing")
		}
		if within := s.fault.within(); r.recovery > within {
			r.complain("not recovered within %s", within)
		}
	}
	return rows, inTime
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (r *row) complain(format string, args ...any) {
	r.complaints = append(r.complaints, fmt.Sprintf(format, args...))
}

func (r *row) answered(o owed) {
	switch o.answer {
	case unknown:
		r.noAnswer++
	case refused:
		r.refusedAnswers++
	case promised:
	}
	r.worstAnswer = max(r.worstAnswer, o.took)
}

// never is how long a mail takes that does not come.
const never = time.Duration(math.MaxInt64)

// first returns when the first mail was accepted, zero when none was.
func first(attempts []attempt) time.Time {
	i := slices.IndexFunc(attempts, func(a attempt) bool { return a.accepted })
	if i < 0 {
		return time.Time{}
	}
	return attempts[i].at
}

// delivery counts what has become of a mail, and returns how long it took to come.
func (r *row) delivery(o owed, t truth, sections []*section) time.Duration {
	attempts := t.attempts(o.to)
	committed := t.exists[o.to]
	switch {
	case o.answer == promised && !committed:
		r.lost++
		r.complain("a success was answered that is not in the database: %s", o.to)
	case !committed && len(attempts) > 0:
		r.doubled++
		r.complain("a mail to a person who is not in the database: %s", o.to)
	}
	if !committed {
		return never
	}
	if o.proven && !t.active[o.to] {
		r.lost++
		r.complain("a code was taken, and its user is not active: %s", o.to)
	}
	came := first(attempts)
	if o.refusal {
		r.returned(o, t, !came.IsZero())
		return 0
	}
	r.sent++
	r.repeats(o, t, attempts, sections)
	if came.IsZero() {
		r.lost++
		r.complain("no mail came: %s (answered: %t)", o.to, o.answer == promised)
		return never
	}
	r.delivered++
	took := came.Sub(o.began)
	r.worstMail = max(r.worstMail, took)
	return took
}

// returned judges a mail whose recipient the mail server has refused for good.
func (r *row) returned(o owed, t truth, accepted bool) {
	if accepted || t.states[strings.ToLower(o.to)] != "failed" {
		r.complain("a refused recipient is not told of: %s is %q", o.to, t.states[strings.ToLower(o.to)])
	}
}

// repeats counts the mails beyond the first. One is within the window of RFC 1047 when the one before it may have been
// accepted without the consumer's knowledge, and then the ledger says that it was repeated. A window costs one such mail.
func (r *row) repeats(o owed, t truth, attempts []attempt, sections []*section) {
	windows := map[int]bool{} // those that have cost a mail, by section
	for i := 1; i < len(attempts); i++ {
		before := attempts[i-1]
		window := slices.IndexFunc(sections[1:], func(s *section) bool { return before.at.Before(s.began) })
		open := !before.accepted || slices.ContainsFunc(sections, func(s *section) bool {
			return s.fault.ambiguous && before.at.After(s.began) && before.at.Before(s.healed.Add(settling))
		})
		event, _, _ := strings.Cut(attempts[i].id, "@")
		if open && !windows[window] && before.id == attempts[i].id && t.resends[event] >= len(attempts)-1 {
			windows[window] = true
			r.repeated++
			continue
		}
		r.doubled++
		r.complain("a mail came again: %s (in the window: %t, again: %t, the same: %t, flagged: %d)",
			o.to, open, windows[window], before.id == attempts[i].id, t.resends[event])
	}
}
