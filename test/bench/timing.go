package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/smap-platform/identity/test/harness"
)

const (
	timingRuns  = 3
	timingAlpha = 0.001
	// timingFailed is how many runs must show a difference in the same direction.
	timingFailed = 2
	// forgotLanes is how many wait for forgot-password at a time. It responds after a fixed time and does little in it.
	forgotLanes = 16
)

const timingHeader = "time of a response, by the state of the address\tsamples\tmedian unknown\tmedian\tp, run by run\tfails when\t"

// timedVerbs are what a stranger tries. A verification is tried by a browser that has registered and by one that has not.
var timedVerbs = []string{"login", "verify, other browser", "register", "send-otp", "verify", "forgot"}

// timingRun has the samples of one run by verb and state.
type timingRun map[string][][]time.Duration

// visit is a stranger at one address.
type visit struct {
	state int
	email string
}

// timing measures whether the time of a response tells a stranger what an address is. On one api every address is met by
// one stranger, whose network nobody else has, in random order; a rank test compares each state with unknown.
func (b *bench) timing(ctx context.Context) error {
	s, err := b.startAlone(ctx, production...)
	if err != nil {
		return err
	}
	if err := b.populate(ctx, s, timingRuns*b.samples*2); err != nil { // forgot has addresses of its own
		return err
	}
	client := s.Client().Forgetful()
	runs := make([]timingRun, timingRuns)
	for i := range runs {
		first := 1 + i*b.samples*2
		if runs[i], err = b.timingRun(ctx, client, first); err != nil {
			return err
		}
	}
	b.reportTiming(runs)
	return nil
}

// timingRun is one run, with the persons from first on of every state.
func (b *bench) timingRun(ctx context.Context, client *harness.Client, first int) (timingRun, error) {
	run := timingRun{}
	err := b.meet(ctx, run, runtime.NumCPU(), first, func(ctx context.Context, v visit) (map[string]time.Duration, error) {
		return meetAll(ctx, newStranger(client), v)
	})
	if err == nil {
		err = b.meet(ctx, run, forgotLanes, first+b.samples, func(ctx context.Context, v visit) (map[string]time.Duration, error) {
			body := map[string]string{"email": v.email}
			a, err := harness.Expect(http.StatusOK)(newStranger(client).post(ctx, "forgot-password", body))
			return map[string]time.Duration{"forgot": a.Took}, err
		})
	}
	return run, err
}

// meet has strangers meet all addresses of a run in random order, so many at a time.
func (b *bench) meet(
	ctx context.Context, run timingRun, lanes, first int,
	do func(ctx context.Context, v visit) (map[string]time.Duration, error),
) error {
	var visits []visit
	for state := range states {
		for i := range b.samples {
			visits = append(visits, visit{state, addressOf(state, first+i)})
		}
	}
	rand.Shuffle(len(visits), func(i, j int) { visits[i], visits[j] = visits[j], visits[i] })
	took := make([]map[string]time.Duration, len(visits))
	err := inParallel(lanes, func(lane int) (err error) {
		for i := lane; i < len(visits); i += lanes {
			if took[i], err = do(ctx, visits[i]); err != nil {
				return fmt.Errorf("%s, %s: %w", states[visits[i].state].name, visits[i].email, err)
			}
		}
		return nil
	})
	for i, v := range visits {
		for verb, t := range took[i] {
			if run[verb] == nil {
				run[verb] = make([][]time.Duration, len(states))
			}
			run[verb][v.state] = append(run[verb][v.state], t)
		}
	}
	return err
}

// meetAll tries a wrong password and a code of nobody's, registers the address, and tries the password and a wrong code
// of that registration. The error codes must be the same for every state, which is checked.
func meetAll(ctx context.Context, s stranger, v visit) (map[string]time.Duration, error) {
	credentials := map[string]string{"email": v.email, "password": "the stranger's own"}
	proof := map[string]string{"email": v.email, "otp": "000000"}
	took := map[string]time.Duration{}
	a, err := expectCode(20004)(s.post(ctx, "login", credentials))
	took["login"] = a.Took
	if err != nil || states[v.state].old {
		return took, err
	}
	if a, err = expectCode(20018)(s.post(ctx, "verify-otp", proof)); err != nil {
		return nil, err
	}
	took["verify, other browser"] = a.Took
	a, proof["registration"], err = s.register(ctx, v.email, credentials["password"])
	if err != nil {
		return nil, err
	}
	took["register"] = a.Took
	if a, err = expectCode(0)(s.post(ctx, "send-otp", credentials)); err != nil {
		return nil, err
	}
	took["send-otp"] = a.Took
	// A guess is right once in a million times.
	if a, err = expectCode(20005)(s.post(ctx, "verify-otp", proof)); err != nil {
		return nil, err
	}
	took["verify"] = a.Took
	return took, nil
}

// reportTiming compares every state with unknown. The sign of a p is the direction: + is slower than unknown.
func (b *bench) reportTiming(runs []timingRun) {
	for i, of := range states[1:] {
		state := i + 1
		for _, verb := range timedVerbs {
			var unknown, took []time.Duration
			var ps []string
			var slower, faster int
			for _, run := range runs {
				if len(run[verb][state]) == 0 {
					continue
				}
				z, p := rankTest(run[verb][state], run[verb][0])
				switch {
				case p < timingAlpha && z > 0:
					slower++
				case p < timingAlpha:
					faster++
				}
				ps = append(ps, fmt.Sprintf("%s%.2g", sign(z), p))
				unknown = slices.Concat(unknown, run[verb][0])
				took = slices.Concat(took, run[verb][state])
			}
			if len(took) == 0 {
				continue
			}
			aim, reached := fmt.Sprintf("%d of %d < %g", timingFailed, timingRuns, timingAlpha), met(max(slower, faster) < timingFailed)
			if of.old {
				aim, reached = "–", ""
			}
			b.report.add(timingHeader, "%s, %s\t%d\t%s\t%s\t%s\t%s\t%s", verb, of.name, len(took),
				preciseMS(quantile(unknown, 0.5)), preciseMS(quantile(took, 0.5)), strings.Join(ps, "  "), aim, reached)
		}
	}
}

func sign(z float64) string {
	if z < 0 {
		return "-"
	}
	return "+"
}

func preciseMS(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }
