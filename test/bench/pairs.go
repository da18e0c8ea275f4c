package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// side does its work once and answers how long it took.
type side func(ctx context.Context) (time.Duration, error)

// timed makes a side of work that is timed as a whole.
func timed(work func(ctx context.Context) error) side {
	return func(ctx context.Context) (time.Duration, error) {
		started := time.Now()
		err := work(ctx)
		return time.Since(started), err
	}
}

// comparison is ours beside bare, n units of work each time.
type comparison struct {
	what       string
	n          int
	prepare    func(ctx context.Context) error // before each side; not timed
	ours, bare side
	verify     func(ctx context.Context) error // after each side; not timed
	aim        float64                         // the least ratio of ours to bare; 0: there is none
}

// interleave measures ours and bare in turns, the order changing from pair to pair so that neither always profits
// from what the other left behind. One pair before them warms up and is not counted.
func (c comparison) interleave(ctx context.Context, s settings, t *tables) error {
	var ours, bare, ratios []float64
	for i := range s.pairs + 1 {
		sides := []side{c.profiled(c.ours, s, i == s.pairs), c.bare}
		rates := make([]float64, 2)
		for _, k := range []int{i % 2, 1 - i%2} {
			took, err := c.once(ctx, sides[k])
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.what, []string{"ours", "bare"}[k], err)
			}
			rates[k] = float64(c.n) / took.Seconds()
		}
		if i == 0 {
			continue
		}
		ours, bare, ratios = append(ours, rates[0]), append(bare, rates[1]), append(ratios, rates[0]/rates[1])
	}
	t.compared = append(t.compared, compared{
		what: c.what, ours: median(ours), bare: median(bare), worst: slices.Min(ratios), ratio: median(ratios), aim: c.aim,
	})
	return nil
}

func (c comparison) once(ctx context.Context, run side) (time.Duration, error) {
	if c.prepare != nil {
		if err := c.prepare(ctx); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	took, err := run(ctx)
	if err != nil {
		return 0, err
	}
	return took, c.verify(ctx)
}

// profiled writes a CPU profile of the run when one is asked for.
func (c comparison) profiled(run side, s settings, last bool) side {
	if s.profile == "" || !last {
		return run
	}
	return func(ctx context.Context) (time.Duration, error) {
		file, err := os.Create(s.profile)
		if err != nil {
			return 0, err
		}
		if err := pprof.StartCPUProfile(file); err != nil {
			return 0, errors.Join(err, file.Close())
		}
		took, err := run(ctx)
		pprof.StopCPUProfile()
		return took, errors.Join(err, file.Close())
	}
}

// tables is everything measured, printed at the end.
type tables struct {
	compared  []compared
	latencies []latency
	beside    []beside
	outages   []outage
	notes     []string
}

type compared struct {
	what                          string
	ours, bare, worst, ratio, aim float64
}

// latency is a distribution with the aims that exist for it; zero: none.
type latency struct {
	what    string
	samples []time.Duration
	aim     map[float64]time.Duration // by quantile
}

// beside is something with a burden, beside the same without; the aim is of the ratio of their p99.
type beside struct {
	what          string
	with, without []time.Duration
	aim           float64
}

// outage is one request with one dependency away, beside the same request in the healthy run.
type outage struct {
	what          string
	away, healthy []time.Duration
}

// The aims of a request while a dependency is away, as multiples of the healthy run.
const (
	aimOutageP50 = 1.2
	aimOutageP99 = 2.0
)

func (t *tables) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) }
	if len(t.compared) > 0 {
		line("\nper second\tours, median\tbare, median\tworst ratio\taim\t\tmedian ratio")
		for _, c := range t.compared {
			aim := "–"
			if c.aim > 0 {
				aim = fmt.Sprintf("≥ %.2f", c.aim)
			}
			line("%s\t%.0f\t%.0f\t%.2f\t%s\t%s\t%.2f", c.what, c.ours, c.bare, c.worst, aim, met(c.aim > 0, c.ratio >= c.aim), c.ratio)
		}
	}
	if len(t.latencies) > 0 {
		line("\nlatency\tsamples\t\taim\t\tmeasured")
		for _, l := range t.latencies {
			l.print(line)
		}
	}
	if len(t.beside) > 0 {
		line("\nbeside the same without\tsamples\tp50 without\tp50 with\tp99 without\tp99 with\taim\t\tp99 ratio")
		for _, b := range t.beside {
			b.print(line)
		}
	}
	if len(t.outages) > 0 {
		line("\nwith a dependency away\tsamples\tp50 healthy\tp50 away\tp99 healthy\tp99 away\taim\t\tp50 ratio\tp99 ratio")
		for _, o := range t.outages {
			o.print(line)
		}
	}
	_ = tw.Flush()
	for _, n := range t.notes {
		fmt.Fprintf(w, "\n%s\n", strings.TrimSpace(n))
	}
}

func (l latency) print(line func(string, ...any)) {
	for _, q := range []float64{0.5, 0.95, 0.99} {
		measured, aim := quantile(l.samples, q), l.aim[q]
		text := "–"
		if aim > 0 {
			text = "≤ " + ms(aim)
		}
		line("%s\t%d\tp%.0f\t%s\t%s\t%s", l.what, len(l.samples), q*100, text, met(aim > 0, measured <= aim), ms(measured))
	}
}

func (b beside) print(line func(string, ...any)) {
	p99, with99 := quantile(b.without, 0.99), quantile(b.with, 0.99)
	ratio := with99.Seconds() / p99.Seconds()
	line("%s\t%d\t%s\t%s\t%s\t%s\t≤ %.1f\t%s\t%.2f", b.what, len(b.with), ms(quantile(b.without, 0.5)), ms(quantile(b.with, 0.5)),
		ms(p99), ms(with99), b.aim, met(true, ratio <= b.aim), ratio)
}

func (o outage) print(line func(string, ...any)) {
	p50, p99 := quantile(o.healthy, 0.5), quantile(o.healthy, 0.99)
	away50, away99 := quantile(o.away, 0.5), quantile(o.away, 0.99)
	r50, r99 := away50.Seconds()/p50.Seconds(), away99.Seconds()/p99.Seconds()
	line("%s\t%d\t%s\t%s\t%s\t%s\t≤ %.1f, ≤ %.1f\t%s\t%.2f\t%.2f", o.what, len(o.away), ms(p50), ms(away50), ms(p99), ms(away99),
		aimOutageP50, aimOutageP99, met(true, r50 <= aimOutageP50 && r99 <= aimOutageP99), r50, r99)
}

func met(aimed, reached bool) string {
	switch {
	case !aimed:
		return ""
	case reached:
		return "met"
	default:
		return "missed"
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile is the nearest-rank one: a value that was measured, never one between two.
func quantile(samples []time.Duration, q float64) time.Duration {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(float64(len(sorted))*q+0.999999) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}
