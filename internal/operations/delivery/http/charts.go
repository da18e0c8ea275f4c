package http

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smap-platform/identity/internal/operations"
)

// A drawing's own units. It is stretched to the width that it is given.
const (
	drawnWidth  = 600
	drawnHeight = 120
)

// drawing is a chart as a page shows it: lines, and the same as numbers.
type drawing struct {
	operations.Chart
	Width, Height int
	Top           string // the highest value of the scale
	Curves        []curve
	Rows          []numbers // the newest first, one for each minute
	Begins, Ends  time.Time
}

// curve is a line as points between which nothing is unknown.
type curve struct {
	Name     string
	Style    int      // of those that the style sheet has
	Strokes  []string // points of a polyline
	Dots     []dot    // values with no known neighbour
	Now      string
	Low, Top string
}

type dot struct{ X, Y string }

// numbers are the values at the end of a minute.
type numbers struct {
	At     time.Time
	Values []string
}

// draw returns the charts that a page shows, in its order.
func draw(samples []operations.Sample, ids ...string) []drawing {
	var drawn []drawing
	all := operations.Charts(samples)
	for _, id := range ids {
		i := slices.IndexFunc(all, func(c operations.Chart) bool { return c.ID == id })
		drawn = append(drawn, drawChart(all[i]))
	}
	return drawn
}

func drawChart(c operations.Chart) drawing {
	d := drawing{Chart: c, Width: drawnWidth, Height: drawnHeight, Rows: tabulate(c)}
	top := 1.0
	for _, l := range c.Lines {
		for _, p := range l.Points {
			if p.Value != nil {
				top = max(top, *p.Value)
			}
			d.Ends = p.At
		}
	}
	top = ceiling(top)
	d.Top, d.Begins = amount(&top), d.Ends.Add(-operations.Window)
	for i, l := range c.Lines {
		d.Curves = append(d.Curves, trace(l, i, top, d.Begins))
	}
	return d
}

// ceiling returns 1, 2 or 5 times a power of ten, at least v.
func ceiling(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5, 10} {
		if step*power >= v {
			return step * power
		}
	}
	return v
}

// trace returns the curve of a line, on a scale up to top. It is interrupted where a value is unknown, or no sample was
// taken.
func trace(l operations.Line, style int, top float64, begins time.Time) curve {
	c := curve{Name: l.Name, Style: style % 6, Now: amount(l.Last())}
	var stroke []string
	flush := func() {
		if len(stroke) > 1 {
			c.Strokes = append(c.Strokes, strings.Join(stroke, " "))
		} else if len(stroke) == 1 {
			x, y, _ := strings.Cut(stroke[0], ",")
			c.Dots = append(c.Dots, dot{x, y})
		}
		stroke = nil
	}
	var before time.Time
	var low, high *float64
	for _, p := range l.Points {
		if p.Value == nil || p.At.Sub(before) > 3*operations.SampleEvery {
			flush()
		}
		before = p.At
		if p.Value == nil {
			continue
		}
		if low == nil || *p.Value < *low {
			low = p.Value
		}
		if high == nil || *p.Value > *high {
			high = p.Value
		}
		x := float64(p.At.Sub(begins)) / float64(operations.Window) * drawnWidth
		y := drawnHeight - *p.Value/top*drawnHeight
		stroke = append(stroke, fmt.Sprintf("%.1f,%.1f", max(x, 0), y))
	}
	flush()
	c.Low, c.Top = amount(low), amount(high)
	return c
}

// tabulate returns the last values of each minute.
func tabulate(c operations.Chart) (rows []numbers) {
	if len(c.Lines) == 0 {
		return nil
	}
	points := c.Lines[0].Points // all lines have the same moments
	for i := len(points) - 1; i >= 0; i-- {
		at := points[i].At
		if len(rows) > 0 && at.Truncate(time.Minute).Equal(rows[len(rows)-1].At.Truncate(time.Minute)) {
			continue
		}
		n := numbers{At: at}
		for _, l := range c.Lines {
			n.Values = append(n.Values, amount(l.Points[i].Value))
		}
		rows = append(rows, n)
	}
	return rows
}

// amount returns a value with the digits that matter.
func amount(v *float64) string {
	switch {
	case v == nil:
		return unknown
	case *v >= 100 || *v == math.Trunc(*v):
		return strconv.FormatFloat(*v, 'f', 0, 64)
	case *v >= 1:
		return strconv.FormatFloat(*v, 'f', 1, 64)
	}
	return strconv.FormatFloat(*v, 'f', 2, 64)
}
