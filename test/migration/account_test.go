//go:build e2e

package migration

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/test/harness"
)

// account is the result of a walk.
type account struct {
	people, mails int
	shadowed      int
	lost          []string
	doubled       map[cause]int
	// wrong is everything that must not be, each with its story.
	wrong []string
}

// countMails counts the mails of every address. The database knows who was registered.
func countMails(t *testing.T, s *harness.TestSystem, killed casualties) account {
	t.Helper()
	stories := stories(t, s)
	a := account{people: len(stories), doubled: map[cause]int{}}
	for email, story := range stories {
		a.mails += len(story.letters)
		problem := story.misowned()
		switch len(story.letters) {
		case 0:
			a.lost = append(a.lost, fmt.Sprintf("%s: %+v", email, *story))
		case 1:
		default:
			why, err := story.cause(killed)
			if err == nil {
				t.Logf("two mails to %s: %s: %+v", email, why, *story)
				a.doubled[why]++
			}
			problem = cmp.Or(problem, err)
		}
		if problem != nil {
			a.wrong = append(a.wrong, fmt.Sprintf("%s: %v: %+v", email, problem, *story))
		}
	}
	a.wrong = append(a.wrong, a.shadows(t, s, stories)...)
	return a
}

func (a account) twice() (n int) {
	for _, m := range a.doubled {
		n += m
	}
	return n
}

// stories joins what the database, the mailbox and the taps know.
func stories(t *testing.T, s *harness.TestSystem) map[string]*story {
	t.Helper()
	all := map[string]*story{}
	copies := tapped(s)
	rows, err := s.DB.QueryContext(t.Context(), `
		SELECT u.username, c.event_id, coalesce(d.resends, 0), coalesce(d.state, '') FROM users u
		JOIN code_requests c ON c.user_id = u.id LEFT JOIN mail_deliveries d ON d.event_id = c.event_id`)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var email string
		var st story
		require.NoError(t, rows.Scan(&email, &st.event, &st.resends, &st.state))
		st.fanout, st.stamped, st.topic = copies.fanout[st.event], copies.stamped[st.event], copies.topic[st.event]
		all[email] = &st
	}
	require.NoError(t, rows.Err())
	require.Len(t, all, s.Count("SELECT count(*) FROM users"), "every user has a code")
	for _, m := range s.Mailbox.All("") {
		require.Contains(t, all, m.To, "a mail to an unregistered address")
		all[m.To].letters = append(all[m.To].letters, letter{m.Header.Get("X-Sent-By"), m.MessageID, m.Text == ""})
	}
	return all
}

// shadows checks that there is one comparison of each stamped event, and that all of them match.
func (a *account) shadows(t *testing.T, s *harness.TestSystem, stories map[string]*story) (wrong []string) {
	t.Helper()
	compared := map[string]string{}
	rows, err := s.DB.QueryContext(t.Context(), "SELECT event_id, differing FROM mail_shadows")
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, differing string
		require.NoError(t, rows.Scan(&id, &differing))
		compared[id] = differing
	}
	require.NoError(t, rows.Err())
	a.shadowed = len(compared)
	stamped := 0
	for _, st := range stories {
		differing, ok := compared[st.event]
		switch {
		case st.stamped == 0:
			continue
		case !ok:
			wrong = append(wrong, st.event+": a stamped copy was never compared")
		case differing != "":
			wrong = append(wrong, st.event+": the mails differ in "+differing)
		}
		stamped++
	}
	if stamped != len(compared) {
		wrong = append(wrong, fmt.Sprintf("%d events were compared, %d were stamped", len(compared), stamped))
	}
	return wrong
}

// lostAcks is how many of an old consumer's last acks a killed broker may not have written: two were seen at 200 mails a
// second on a busy machine.
const lostAcks = 3

// unexplained names a cause that has doubled more mails than the casualties can have, "" when there is none. relays is
// how many processes of ours publish, old how many old consumers there are.
func (a account) unexplained(kills []role, relays, old int) cause {
	count := func(r role) (n int) {
		for _, k := range kills {
			if k == r {
				n++
			}
		}
		return n
	}
	brokers := count(broker)
	for why, most := range map[cause]int{
		// A process that is killed repeats one copy at most, a broker one of every relay (docs/adr/0006).
		copyRepeated: count(publisher) + count(consumer) + brokers*relays,
		oldKilled:    count(oldConsumer),
		oldCut:       brokers * old * lostAcks,
		// One per handler that was between the 250 and its record; a lost broker connection alone is remembered.
		rfc1047: count(consumer),
	} {
		if a.doubled[why] > most {
			return why
		}
	}
	return ""
}

// reasons lists why mails were doubled, for the report.
func (a account) reasons() string {
	var all []string
	for why, n := range a.doubled {
		all = append(all, fmt.Sprintf("%d × %s", n, why))
	}
	slices.Sort(all)
	return cmp.Or(strings.Join(all, "; "), "-")
}
