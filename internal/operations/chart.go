package operations

import (
	"time"

	"github.com/smap-platform/identity/internal/status"
)

// Point is a value at a moment; nil where it was unknown.
type Point struct {
	At    time.Time
	Value *float64
}

// Line is what one thing was like over time.
type Line struct {
	Name   string
	Points []Point
}

// Last returns the newest value.
func (l Line) Last() *float64 {
	if len(l.Points) == 0 {
		return nil
	}
	return l.Points[len(l.Points)-1].Value
}

// Chart is lines with one scale.
type Chart struct {
	ID    string // of its place in a page
	Title string
	Unit  string // of the values
	Scope string // what the figures are of
	Lines []Line
}

// The charts, by their ID.
const (
	ChartWaiting   = "waiting"
	ChartDead      = "dead"
	ChartLanes     = "lanes"
	ChartOutbox    = "outbox"
	ChartOutboxAge = "outbox-age"
	ChartOwed      = "owed"
	ChartProcesses = "processes"
	ChartRates     = "rates"
)

const (
	ofService = "the whole service"
	ofProcess = "this consumer alone"
)

// Charts returns what the samples show, one chart for each thing an operator looks for.
func Charts(samples []Sample) []Chart {
	c := charting{samples}
	return []Chart{
		{ChartWaiting, "Messages that wait", "messages", ofService + ", ready and on retry levels", c.queues(waiting)},
		{ChartDead, "Dead letters", "messages", ofService, c.queues(func(q status.Queue) *float64 { return number(q.Dead) })},
		{ChartOutbox, "Rows of the outbox", "rows", ofService, []Line{
			c.line("waiting", func(s Sample) *float64 { return of(s.Facts.Outbox, func(o status.Outbox) int { return o.Rows }) }),
			c.line("given up", func(s Sample) *float64 { return of(s.Facts.Outbox, func(o status.Outbox) int { return o.Failed }) }),
		}},
		{ChartOutboxAge, "How long the oldest row has been due", "seconds", ofService, []Line{
			c.line("oldest due row", func(s Sample) *float64 {
				return of(s.Facts.Outbox, func(o status.Outbox) float64 { return o.OldestDue })
			}),
		}},
		{ChartOwed, "Mails that are owed", "mails", ofService, []Line{
			c.line("owed", func(s Sample) *float64 { return of(s.Facts.Mails, func(m status.Mails) int { return m.Owed }) }),
		}},
		{ChartLanes, "Lanes that send nothing", "processes say so: 1", ofService, c.lanes()},
		{ChartProcesses, "Living processes", "processes", ofService, c.roles()},
		{ChartRates, "What is done in a second", "per second", ofProcess, []Line{
			c.rate("published", func(k Counters) float64 { return k.Published }),
			c.rate("consumed", func(k Counters) float64 { return k.Consumed }),
			c.rate("mails", func(k Counters) float64 { return k.Mails }),
		}},
	}
}

type charting struct{ samples []Sample }

func (c charting) line(name string, value func(Sample) *float64) Line {
	l := Line{Name: name}
	for _, s := range c.samples {
		l.Points = append(l.Points, Point{s.At, value(s)})
	}
	return l
}

// newest returns the last sample; what it names has a line.
func (c charting) newest() (s Sample) {
	if n := len(c.samples); n > 0 {
		s = c.samples[n-1]
	}
	return s
}

func (c charting) queues(value func(status.Queue) *float64) (lines []Line) {
	for _, named := range c.newest().Facts.Queues {
		lines = append(lines, c.line(named.Name, func(s Sample) *float64 {
			for _, q := range s.Facts.Queues {
				if q.Name == named.Name {
					return value(q)
				}
			}
			return nil
		}))
	}
	return lines
}

func (c charting) lanes() (lines []Line) {
	for _, named := range c.newest().Facts.Lanes {
		lines = append(lines, c.line(named.Queue, func(s Sample) *float64 {
			for _, lane := range s.Facts.Lanes {
				switch {
				case lane.Queue != named.Queue:
				case lane.Paused:
					return new(1.0)
				default:
					return new(0.0)
				}
			}
			return nil
		}))
	}
	return lines
}

func (c charting) roles() (lines []Line) {
	for _, role := range c.newest().Facts.Roles {
		lines = append(lines, c.line(role, func(s Sample) *float64 {
			if s.Facts.Processes == nil {
				return nil
			}
			return new(float64(s.Facts.Alive(role)))
		}))
	}
	return lines
}

// rate is how much was done in each second since the sample before.
func (c charting) rate(name string, value func(Counters) float64) Line {
	l := Line{Name: name}
	for i, s := range c.samples {
		p := Point{At: s.At}
		if i > 0 {
			before := c.samples[i-1]
			if took := s.At.Sub(before.At).Seconds(); took > 0 {
				p.Value = new(max(value(s.Counters)-value(before.Counters), 0) / took)
			}
		}
		l.Points = append(l.Points, p)
	}
	return l
}

// waiting is what a queue holds, as far as all of it is known.
func waiting(q status.Queue) *float64 {
	if q.Ready == nil || q.Retry == nil {
		return nil
	}
	return new(float64(*q.Ready + *q.Retry))
}

func number(n *int) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

func of[T any, N int | float64](from *T, value func(T) N) *float64 {
	if from == nil {
		return nil
	}
	return new(float64(value(*from)))
}
