package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything measured, printed at the end.
type report struct {
	tables []*table
	notes  []string
}

type table struct {
	header string
	lines  []string
}

// add adds a line to the table with this header.
func (r *report) add(header, format string, args ...any) {
	i := slices.IndexFunc(r.tables, func(t *table) bool { return t.header == header })
	if i < 0 {
		i = len(r.tables)
		r.tables = append(r.tables, &table{header: header})
	}
	r.tables[i].lines = append(r.tables[i].lines, fmt.Sprintf(format, args...))
}

// note adds a line below the tables.
func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// rate adds a comparison of rates.
func (r *report) rate(what string, ours, bare, worst, aim, ratio float64) {
	text, reached := "–", ""
	if aim > 0 {
		text, reached = fmt.Sprintf("≥ %.2f", aim), met(ratio >= aim)
	}
	r.add("per second\tours, median\tbare, median\tworst ratio\taim\t\tmedian ratio",
		"%s\t%.0f\t%.0f\t%.2f\t%s\t%s\t%.2f", what, ours, bare, worst, text, reached, ratio)
}

// latency adds a distribution with its aims by quantile.
func (r *report) latency(what string, samples []time.Duration, aims map[float64]time.Duration) {
	for _, q := range []float64{0.5, 0.95, 0.99} {
		measured := quantile(samples, q)
		text, reached := "–", ""
		if aim := aims[q]; aim > 0 {
			text, reached = "≤ "+ms(aim), met(measured <= aim)
		}
		r.add("latency\tsamples\t\taim\t\tmeasured",
			"%s\t%d\tp%.0f\t%s\t%s\t%s", what, len(samples), q*100, text, reached, ms(measured))
	}
}

// Headers of the tables of beside.
const (
	outageHeader = "with a dependency away\tsamples\tp50 healthy\tp50 away\tp99 healthy\tp99 away" + ratioHeader
	besideHeader = "beside the same without\tsamples\tp50 without\tp50 with\tp99 without\tp99 with" + ratioHeader
	ratioHeader  = "\taim\t\tp50 ratio\tp99 ratio"
)

// beside adds a latency with a burden beside the same without. The aims are of the ratios; a p50 of 0 is none.
func (r *report) beside(header, what string, with, without []time.Duration, aim50, aim99 float64) {
	without50, without99 := quantile(without, 0.5), quantile(without, 0.99)
	with50, with99 := quantile(with, 0.5), quantile(with, 0.99)
	ratio50, ratio99 := with50.Seconds()/without50.Seconds(), with99.Seconds()/without99.Seconds()
	aim := fmt.Sprintf("≤ %.1f", aim99)
	if aim50 > 0 {
		aim = fmt.Sprintf("≤ %.1f, %s", aim50, aim)
	}
	r.add(header, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f",
		what, len(with), ms(without50), ms(with50), ms(without99), ms(with99), aim, met((aim50 == 0 || ratio50 <= aim50) && ratio99 <= aim99), ratio50, ratio99)
}

func (r *report) print(w io.Writer) {
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range r.tables {
		fmt.Fprintf(tabs, "\n%s\n%s\n", t.header, strings.Join(t.lines, "\n"))
	}
	_ = tabs.Flush()
	for _, n := range r.notes {
		fmt.Fprintf(w, "\n%s\n", n)
	}
}

func met(reached bool) string {
	if reached {
		return "met"
	}
	return "missed"
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }

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
