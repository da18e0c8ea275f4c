//go:build e2e

package migration

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// cause is why an address got two mails: what remains according to docs/adr/0006.
type cause string

const (
	copyRepeated cause = "relay or broker killed before the row was deleted"
	oldKilled    cause = "old consumer killed before its ack"
	oldCut       cause = "broker killed before it kept an old consumer's ack"
	rfc1047      cause = "ours killed between 250 and record (RFC 1047)"
)

// story is everything known about one address.
type story struct {
	event   string
	letters []letter // oldest first
	fanout  int      // fanout copies, as another team has seen them
	stamped int      // topic copies that another copy sends for
	topic   int      // topic copies that send
	resends int      // as the ledger has it
	state   string   // of the ledger, "" when the mail never passed through it
}

// letter is one mail.
type letter struct {
	sentBy    string // a process of an old consumer; empty: ours
	messageID string
	legacy    bool // the previous release's text: HTML and nothing else
}

// casualties is what was killed.
type casualties struct {
	relays int // processes of ours, each of which has a relay
	broker int // times
	// inHand is the events whose copies an old consumer had in hand when it, or the broker, was killed. It handles one
	// after the other, so everything before them was acked.
	inHand map[string]cause
}

// cause returns why there are two mails.
func (s story) cause(killed casualties) (cause, error) {
	if len(s.letters) != 2 {
		return "", fmt.Errorf("%d mails", len(s.letters))
	}
	first, second := s.letters[0], s.letters[1]
	switch {
	case first.sentBy == "" && second.sentBy == "":
		switch {
		case first.messageID != second.messageID:
			return "", errors.New("both are ours, and they differ in their Message-ID")
		case s.resends == 0:
			return "", errors.New("both are ours, and the ledger knows of no repeat")
		}
		return rfc1047, nil
	case s.fanout > 1 && killed.relays+killed.broker > 0:
		return copyRepeated, nil
	case first.sentBy != "" && killed.inHand[s.event] != "":
		return killed.inHand[s.event], nil
	}
	return "", fmt.Errorf("sent by %q and %q from %d fanout copies", first.sentBy, second.sentBy, s.fanout)
}

// misowned returns what is wrong with the senders of the mails.
func (s story) misowned() error {
	switch {
	case s.fanout > 0 && s.topic > 0:
		return errors.New("both a fanout copy and a topic copy send")
	case s.fanout == 0 && s.topic == 0:
		return errors.New("no copy sends")
	case s.fanout == 0 && s.stamped > 0:
		return errors.New("a stamped copy has no fanout copy")
	}
	for _, l := range s.letters {
		if legacy := s.fanout > 0; l.legacy != legacy {
			return fmt.Errorf("sent from the other copy (legacy text: %t)", l.legacy)
		}
	}
	return nil
}

func TestCause(t *testing.T) {
	t.Parallel()
	ours, another := letter{messageID: "evt_1@smap.example"}, letter{messageID: "evt_2@smap.example"}
	old, other := letter{sentBy: "old-1/7", legacy: true}, letter{sentBy: "old-2/8", legacy: true}
	none := casualties{}
	relay, server := casualties{relays: 1}, casualties{broker: 1}
	handed := casualties{inHand: map[string]cause{"evt_1": oldKilled, "evt_2": oldCut}}
	for _, test := range []struct {
		name   string
		story  story
		killed casualties
		want   cause
	}{
		{"the ledger has repeated", story{letters: []letter{ours, ours}, topic: 1, resends: 1}, relay, rfc1047},
		{"the ledger knows nothing", story{letters: []letter{ours, ours}, topic: 1}, relay, ""},
		{"two different mails", story{letters: []letter{ours, another}, topic: 1, resends: 1}, relay, ""},
		{"a relay has repeated", story{letters: []letter{old, other}, fanout: 2}, relay, copyRepeated},
		{"the broker made it repeat", story{letters: []letter{old, ours}, fanout: 2}, server, copyRepeated},
		{"repeated for no reason", story{letters: []letter{old, other}, fanout: 2}, none, ""},
		{"an old one died with it", story{event: "evt_1", letters: []letter{old, other}, fanout: 1}, handed, oldKilled},
		{"the broker died with it", story{event: "evt_2", letters: []letter{old, ours}, fanout: 1}, handed, oldCut},
		{"they died with another", story{event: "evt_3", letters: []letter{old, other}, fanout: 1}, handed, ""},
		{"ours first", story{event: "evt_1", letters: []letter{ours, old}, fanout: 1, resends: 1}, handed, ""},
		{"three", story{letters: []letter{old, other, ours}, fanout: 3}, relay, ""},
	} {
		got, err := test.story.cause(test.killed)
		require.Equal(t, test.want, got, test.name)
		require.Equal(t, test.want == "", err != nil, test.name)
	}
}

func TestUnexplained(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		doubled map[cause]int
		kills   []role
		want    cause
	}{
		{"nothing", nil, nil, ""},
		{"a repeat without a kill", map[cause]int{rfc1047: 1}, []role{publisher}, rfc1047},
		{"one copy per process", map[cause]int{copyRepeated: 2}, []role{publisher, consumer}, ""},
		{"a copy too many", map[cause]int{copyRepeated: 2}, []role{publisher, oldConsumer}, copyRepeated},
		{"one copy per relay and broker", map[cause]int{copyRepeated: 4}, []role{broker}, ""},
		{"a copy more than relays", map[cause]int{copyRepeated: 5}, []role{broker}, copyRepeated},
		{"each old consumer's last", map[cause]int{oldCut: 2 * lostAcks, oldKilled: 1}, []role{broker, oldConsumer}, ""},
		{"more than the old consumers' last", map[cause]int{oldCut: 2*lostAcks + 1}, []role{broker}, oldCut},
		{"an old consumer that was not killed", map[cause]int{oldKilled: 1}, []role{broker}, oldKilled},
	} {
		require.Equal(t, test.want, account{doubled: test.doubled}.unexplained(test.kills, 4, 2), test.name)
	}
}

func TestMisowned(t *testing.T) {
	t.Parallel()
	ours, legacy := letter{}, letter{legacy: true}
	for _, test := range []struct {
		name  string
		story story
		right bool
	}{
		{"prepare", story{letters: []letter{legacy}, fanout: 1}, true},
		{"dual", story{letters: []letter{legacy}, fanout: 1, stamped: 1}, true},
		{"cutover", story{letters: []letter{ours}, topic: 1}, true},
		{"a stamped copy was sent", story{letters: []letter{ours}, fanout: 1, stamped: 1}, false},
		{"two owners", story{letters: []letter{legacy}, fanout: 1, topic: 1}, false},
		{"no owner", story{letters: []letter{ours}, stamped: 1}, false},
		{"no copy", story{}, false},
	} {
		require.Equal(t, test.right, test.story.misowned() == nil, test.name)
	}
}
