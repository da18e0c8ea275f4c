package status

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/smap-platform/identity/pkg/terminal"
)

// ErrNotWell is the error of a service that is not well.
var ErrNotWell = errors.New("the service is not well")

// Well returns an error unless everything is known and nothing is wrong.
func Well(f Facts, problems []Problem) error {
	if len(problems) > 0 || len(f.Unknown) > 0 {
		return ErrNotWell
	}
	return nil
}

// WriteJSON writes f and what is wrong.
func WriteJSON(out io.Writer, f Facts, problems []Problem) error {
	type problem struct {
		Problem
		Runbook string `json:"runbook"`
	}
	report := struct {
		Well     bool      `json:"well"`
		Problems []problem `json:"problems"`
		Facts
	}{Well: Well(f, problems) == nil, Problems: []problem{}, Facts: f}
	for _, p := range problems {
		report.Problems = append(report.Problems, problem{p, p.Runbook()})
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(report)
}

// unknown stands for what is not known.
const unknown = "–"

// Write writes f for people: what is wrong first, with what to do, then everything that is known.
func Write(out io.Writer, f Facts, problems []Problem) error {
	p := &printer{out: out}
	switch {
	case len(problems) > 0:
		p.line("not well:")
	case len(f.Unknown) > 0:
		p.line("nothing is known to be wrong, and not everything is known")
	default:
		p.line("well")
	}
	for _, problem := range problems {
		p.line("  %s", problem.What)
		p.line("    -> %s (%s)", problem.Next, problem.Runbook())
	}
	for _, gap := range f.Unknown {
		p.line("  unknown: %s", gap)
	}
	for _, rows := range [][][]string{processRows(f), queueRows(f), otherRows(f)} {
		p.line("")
		p.table(rows)
	}
	return p.err
}

// printer writes, and keeps the first error.
type printer struct {
	out io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	_, err := io.WriteString(p.out, terminal.Escape(fmt.Sprintf(format, args...))+"\n")
	p.err = errors.Join(p.err, err)
}

func (p *printer) table(rows [][]string) {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = terminal.Escape(cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	p.err = errors.Join(p.err, w.Flush())
}

func processRows(f Facts) [][]string {
	rows := [][]string{{"ROLE", "VERSION", "ALIVE", "SINCE"}}
	for _, g := range f.Processes {
		rows = append(rows, []string{g.Role, g.Version, fmt.Sprint(g.Count), moment(g.Since)})
	}
	for _, role := range f.Roles {
		switch {
		case f.Processes == nil:
			rows = append(rows, []string{role, unknown, unknown, unknown})
		case f.Alive(role) == 0:
			rows = append(rows, []string{role, unknown, "0", unknown})
		}
	}
	return rows
}

func queueRows(f Facts) [][]string {
	rows := [][]string{{"QUEUE", "READY", "UNACKED", "CONSUMERS", "RETRY", "DEAD"}}
	for _, q := range f.Queues {
		rows = append(rows, []string{
			q.Name, figure(q.Ready), figure(q.Unacked), figure(q.Consumers), figure(q.Retry), figure(q.Dead),
		})
	}
	return rows
}

func otherRows(f Facts) [][]string {
	rows := [][]string{{"outbox", unknown}, {"mails", unknown}}
	if o := f.Outbox; o != nil {
		rows[0][1] = fmt.Sprintf("%d rows, %d given up, the oldest due for %s", o.Rows, o.Failed, duration(o.OldestDue))
	}
	if m := f.Mails; m != nil {
		rows[1][1] = fmt.Sprintf("%d owed, the oldest for %s", m.Owed, duration(m.Oldest))
	}
	for _, lane := range f.Lanes {
		rows = append(rows, []string{"lane " + lane.Queue, lane.String()})
	}
	if len(f.Lanes) == 0 {
		rows = append(rows, []string{"lanes", unknown})
	}
	projects := unknown
	if p := f.Projects; p != nil {
		projects = fmt.Sprintf("%d open, the longest without a change for %s", p.Open, duration(p.Idle))
	}
	return append(rows,
		[]string{"scheduler lag", seconds(f.SchedulerLag)},
		[]string{"projects", projects},
		[]string{"database", server(f.Database) + ", the oldest snapshot " + seconds(f.OldestSnapshot)},
		[]string{"rabbitmq", server(f.RabbitMQ)},
		[]string{"redis", server(f.Redis)},
	)
}

// String returns how the lane is, in words.
func (l Lane) String() string {
	var state []string
	if l.Halt != nil {
		halted := fmt.Sprintf("paused by %s since %s", cmp.Or(l.Halt.By, unknown), moment(l.Halt.Since))
		if l.Halt.Reason != "" {
			halted += " (" + l.Halt.Reason + ")"
		}
		if l.Halted < l.Processes {
			halted += fmt.Sprintf(", as %d of %d processes say", l.Halted, l.Processes)
		}
		state = append(state, halted)
	}
	switch {
	case l.Paused:
		state = append(state, fmt.Sprintf("paused since %s: %s", moment(*l.Since), l.Class))
	case l.Processes == 0:
		state = append(state, "no living process sends it")
	case l.Halt == nil:
		state = append(state, "open")
	}
	return strings.Join(state, "; ")
}

func server(d Dependency) string {
	if d.Error == "" {
		return d.Status
	}
	return d.Status + ": " + d.Error
}

func figure(n *int) string {
	if n == nil {
		return unknown
	}
	return fmt.Sprint(*n)
}

func seconds(s *float64) string {
	if s == nil {
		return unknown
	}
	return duration(*s)
}

func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }
