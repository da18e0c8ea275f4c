//go:build e2e

package migration

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/legacy"
)

// The two ways. The way back begins where the way forward ends.
var (
	forward = walk{name: "forward", phases: []legacy.Phase{legacy.Prepare, legacy.Dual, legacy.Cutover, legacy.Complete}, consumersFirst: true}
	back    = walk{name: "back", phases: []legacy.Phase{legacy.Complete, legacy.Cutover, legacy.Dual, legacy.Prepare}}
)

// walks is each way once, beside an old consumer and with every role killed; or, where FANOUT_WALK is full, the matrix.
// Where the broker is killed there is one old consumer: it can cost each of them a mail.
func walks() (all []walk) {
	everyone := []role{publisher, consumer, oldConsumer, broker}
	if os.Getenv("FANOUT_WALK") != "full" {
		for _, w := range []walk{forward, back} {
			w.old, w.kills, w.rate = 1, everyone, 50
			all = append(all, w)
		}
		return all
	}
	for _, w := range []walk{forward, back} {
		w.rate = 200
		for _, old := range []int{2, 0} {
			w.old, w.kills = old, nil
			all = append(all, w)
			w.kills = []role{publisher, consumer, broker}
			if old > 0 {
				w.old, w.kills = 1, everyone
			}
			w.consumersFirst = !w.consumersFirst
			all = append(all, w)
		}
	}
	return all
}

// TestWalk migrates forwards and back, process by process, under load. Without kills every address gets exactly one
// mail. With kills every address gets its mail, no kill costs more than one mail too many, and each of those has a
// known cause. FANOUT_WALK_SEED repeats the kills of an earlier run.
func TestWalk(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if given := os.Getenv("FANOUT_WALK_SEED"); given != "" {
		var err error
		seed, err = strconv.ParseUint(given, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("FANOUT_WALK_SEED=%d", seed)
	for i, w := range walks() {
		t.Run(w.String(), func(t *testing.T) {
			w.run(t, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
}

func (w walk) run(t *testing.T, random *rand.Rand) {
	f := start(t, w, random)
	began := time.Now()
	f.dwell()
	schedule := w.schedule(random)
	for i, c := range w.changes() {
		f.change(c)
		f.dwell()
		if victim, ok := schedule[i]; ok {
			t.Logf("%s is done", c)
			f.kill(victim)
			f.dwell()
		}
	}
	loaded := time.Since(began)
	f.land()
	a := countMails(t, f.s, f.killed)
	t.Logf("walk %-7s | %-16s | %-8s | %6d mails to %6d people, %3.0f/s | %5d compared | %d lost | %d doubled: %s | %s",
		w.name, w.company(), w.losses(), a.mails, a.people, float64(a.people)/loaded.Seconds(), a.shadowed, len(a.lost),
		a.twice(), a.reasons(), time.Since(began).Round(time.Second))
	require.Empty(t, a.lost, "an address got no mail")
	require.Empty(t, a.wrong)
	require.LessOrEqual(t, a.twice(), len(w.kills), "mails too many")
	require.Empty(t, a.unexplained(w.kills, 2*pair, w.old), "more of it than the kills explain")
	require.NotZero(t, a.shadowed, "the phase dual was walked through")
	require.Zero(t, f.s.Count("SELECT count(*) FROM mail_deliveries WHERE state NOT IN ('accepted', 'legacy')"))
}
