package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
	calm, broken, open := &fault{name: "calm"}, &fault{name: "broken"}, &fault{name: "open", ambiguous: true}
	sections := func(f *fault) []*section {
		return []*section{
			{fault: calm, began: at(0), healed: at(8)},
			{fault: f, began: at(20), healed: at(28)},
			{fault: calm, began: at(28).Add(f.rest()), healed: at(60)},
		}
	}
	mail := func(seconds float64) attempt { return attempt{at(seconds), true, "evt_1@example.com"} }
	doubtful := func(seconds float64) attempt { return attempt{at(seconds), false, "evt_1@example.com"} }
	mine := owed{to: "an@example.com", section: 1, probe: true, answer: promised, began: at(21)}
	change := func(do func(*owed)) owed { o := mine; do(&o); return o }
	for name, test := range map[string]struct {
		fault                                       *fault
		owed                                        owed
		attempts                                    []attempt
		unknown                                     bool // to the database
		resends                                     int
		state                                       string
		sent, delivered, lost, doubled, repeated, n int // n complaints
		recovery                                    time.Duration
	}{
		"a mail that came":             {owed: mine, attempts: []attempt{mail(22)}, sent: 1, delivered: 1},
		"a mail that did not come":     {owed: mine, sent: 1, lost: 1, n: 1},
		"a mail that came late":        {owed: mine, attempts: []attempt{mail(80)}, sent: 1, delivered: 1},
		"a success that is not stored": {owed: mine, unknown: true, lost: 1, n: 2},
		"no answer, and stored": {
			owed: change(func(o *owed) { o.answer = unknown }), attempts: []attempt{mail(22)}, sent: 1, delivered: 1,
		},
		"no answer, and stored, and no mail": {owed: change(func(o *owed) { o.answer = unknown }), sent: 1, lost: 1, n: 1},
		"no answer, not stored, and a mail": {
			owed: change(func(o *owed) { o.answer = unknown }), unknown: true, attempts: []attempt{mail(22)}, doubled: 1, n: 2,
		},
		"a mail twice": {owed: mine, attempts: []attempt{mail(22), mail(23)}, sent: 1, delivered: 1, doubled: 1, n: 1},
		"a mail twice, its first cut after the dot": {
			owed: mine, attempts: []attempt{doubtful(22), mail(52)}, resends: 1, sent: 1, delivered: 1, repeated: 1,
		},
		"the same, and the ledger does not know": {
			owed: mine, attempts: []attempt{doubtful(22), mail(52)}, sent: 1, delivered: 1, doubled: 1, n: 1,
		},
		"a mail that was only cut": {owed: mine, attempts: []attempt{doubtful(22)}, sent: 1, lost: 1, n: 1},
		"a mail twice while nobody could know": {
			fault: open, owed: mine, attempts: []attempt{mail(22), mail(52)}, resends: 1, sent: 1, delivered: 1, repeated: 1,
		},
		"a mail three times, in two windows": {
			fault: open, owed: mine, attempts: []attempt{mail(22), doubtful(52), mail(82)}, resends: 2, sent: 1, delivered: 1, repeated: 2,
		},
		"a mail three times in one window": {
			fault: open, owed: mine, attempts: []attempt{mail(22), mail(24), mail(52)}, resends: 2,
			sent: 1, delivered: 1, doubled: 1, repeated: 1, n: 1,
		},
		"a mail twice after that": {
			fault: open, owed: mine, attempts: []attempt{mail(35), mail(52)}, resends: 1, sent: 1, delivered: 1, doubled: 1, n: 1,
		},
		"a code that was taken in vain": {
			owed:     change(func(o *owed) { o.proven = true }),
			attempts: []attempt{mail(22)}, sent: 1, delivered: 1, lost: 1, n: 1,
		},
		"a refused recipient who is told of":     {owed: change(func(o *owed) { o.refusal = true }), state: "failed", n: 1},
		"a refused recipient who is not told of": {owed: change(func(o *owed) { o.refusal = true }), state: "sending", n: 2},
		"late at once after the fault": {
			owed: change(func(o *owed) { o.began = at(30) }), attempts: []attempt{mail(36)}, sent: 1, delivered: 1, recovery: 2 * time.Second,
		},
		"late long after the fault": {
			fault: &fault{patience: time.Second}, owed: change(func(o *owed) { o.began = at(30) }),
			attempts: []attempt{mail(36)}, sent: 1, delivered: 1, recovery: 2 * time.Second, n: 1,
		},
		"late for longer than recovery may take": {
			owed: change(func(o *owed) { o.began = at(28).Add(recoverWithin + time.Second) }), attempts: []attempt{mail(45)},
			sent: 1, delivered: 1, recovery: recoverWithin + time.Second, n: 1,
		},
		"late because of the next fault": {
			owed: change(func(o *owed) { o.began = at(41) }), attempts: []attempt{mail(45)}, sent: 1, delivered: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := test.fault
			if f == nil {
				f = broken
			}
			rows, _ := judge(sections(f), []owed{test.owed}, truth{
				exists:   map[string]bool{test.owed.to: !test.unknown},
				active:   map[string]bool{},
				resends:  map[string]int{"evt_1": test.resends},
				states:   map[string]string{test.owed.to: test.state},
				attempts: func(string) []attempt { return test.attempts },
			})
			r := rows[1]
			require.Equal(t, []int{test.sent, test.delivered, test.lost, test.doubled, test.repeated},
				[]int{r.sent, r.delivered, r.lost, r.doubled, r.repeated}, "%q", r.complaints)
			require.Len(t, r.complaints, test.n, "%q", r.complaints)
			require.Equal(t, test.recovery, r.recovery)
		})
	}
}
