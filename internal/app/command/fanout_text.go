package command

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/fanout"
)

// Cells without a value.
const (
	unknownCell = "?" // nothing was to be found out; the reason is among what cannot be known
	noCell      = "-" // there is nothing to say
)

var errCleanupRefused = errors.New("nothing was deleted")

// printStatus shows the facts and the verdict on the step to phase to ("": the next one). It fails when that is not safe.
func printStatus(out io.Writer, asJSON bool, f fanout.Facts, to fanout.Phase) error {
	if to == "" {
		to = f.Next()
	}
	verdict := fanout.Judge(f, to)
	if asJSON {
		if err := printJSON(out, struct {
			To fanout.Phase `json:"to"`
			fanout.Verdict
			Facts fanout.Facts `json:"facts"`
		}{to, verdict, f}); err != nil {
			return err
		}
	} else {
		if err := printFacts(out, f); err != nil {
			return err
		}
		printVerdict(out, verdict)
		if verdict.Safe {
			fmt.Fprintln(out, "safe to go to", to)
		}
	}
	if !verdict.Safe {
		return fmt.Errorf("it is not safe to go to %s", to)
	}
	return nil
}

// printCleanup tells what was deleted, also when failed says that it ended early. It answers failed, or an error of its
// own when nothing may be deleted.
func printCleanup(out io.Writer, dryRun bool, c app.Cleanup, failed error) error {
	done := "deleted"
	if dryRun {
		done = "would delete"
	}
	for _, what := range c.Removed {
		fmt.Fprintln(out, done, what)
	}
	switch {
	case failed != nil:
		return failed
	case !c.Verdict.Safe:
		printVerdict(out, c.Verdict)
		return errCleanupRefused
	case len(c.Removed) == 0:
		fmt.Fprintln(out, "nothing to do")
	}
	return nil
}

func printVerdict(out io.Writer, v fanout.Verdict) {
	for _, text := range v.Warnings {
		fmt.Fprintln(out, "warning:", text)
	}
	for _, text := range v.Blockers {
		fmt.Fprintln(out, "not yet:", text)
	}
	for _, text := range v.Unknown {
		fmt.Fprintln(out, "not yet: cannot know", text)
	}
}

func printFacts(out io.Writer, f fanout.Facts) error {
	queues := slices.Concat(
		[]event.QueueState{f.Old, f.Email.Main}, f.Email.Retry, []event.QueueState{f.Email.Dead, f.Legacy.Main},
		f.Legacy.Retry, []event.QueueState{f.Legacy.Dead}, f.Others)
	for _, table := range [][][]string{
		exchangeRows(f.Topic, f.Fanout), queueRows(queues), foreignRows(queues), writerRows(f.Fanout), bindingRows(f.Bindings, f.OfTopic),
		processRows(f.At, f.Processes),
	} {
		if err := printTable(out, table); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "rows for %s in the outbox: %d\n", fanout.Exchange, f.Waiting)
	printShadows(out, f.Shadows)
	for _, text := range f.Unknown {
		fmt.Fprintln(out, "cannot know", text)
	}
	fmt.Fprintln(out)
	return nil
}

// printTable prints rows, of which the first is the head, and an empty line; nothing when there is only the head.
func printTable(out io.Writer, rows [][]string) error {
	if len(rows) < 2 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out)
	return err
}

func exchangeRows(exchanges ...event.ExchangeState) [][]string {
	rows := [][]string{{"EXCHANGE", "EXISTS", "TYPE", "DURABLE"}}
	for _, e := range exchanges {
		row := []string{e.Name, "no", noCell, noCell}
		if e.Exists {
			row = []string{e.Name, "yes", unknownCell, unknownCell}
			if e.Type != "" {
				row[2] = e.Type
			}
			if e.Durable != nil {
				row[3] = yesNo(*e.Durable)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// queueRows leaves out retry levels in which nothing waits: that is most of the queues, and as it should be.
func queueRows(queues []event.QueueState) [][]string {
	rows := [][]string{{"QUEUE", "READY", "UNACKED", "OURS", "FOREIGN", "CAME IN 5 MIN"}}
	for _, q := range queues {
		if strings.Contains(q.Name, ".retry.") && q.Ready == 0 && q.Consumers == 0 {
			continue
		}
		if !q.Exists {
			rows = append(rows, []string{q.Name, "missing", noCell, noCell, noCell, noCell})
			continue
		}
		ours, foreign := fmt.Sprintf("%d, whose?", q.Consumers), unknownCell
		if q.Readers != nil {
			ours, foreign = strconv.Itoa(q.Ours()), strconv.Itoa(len(q.Foreign()))
		}
		rows = append(rows, []string{q.Name, strconv.Itoa(q.Ready), number(q.Unacked), ours, foreign, number(q.Arrived)})
	}
	return rows
}

func number(n *int) string {
	if n == nil {
		return unknownCell
	}
	return strconv.Itoa(*n)
}

func foreignRows(queues []event.QueueState) [][]string {
	rows := [][]string{{"READ BY OTHERS", "CONSUMER", "CONNECTION"}}
	for _, q := range queues {
		for _, r := range q.Foreign() {
			rows = append(rows, []string{q.Name, r.Tag, r.Name()})
		}
	}
	return rows
}

// bindingRows shows the bindings of the fanout exchange, then those of the topic exchange.
func bindingRows(fanouts, topics []event.Binding) [][]string {
	rows := [][]string{{"BINDING", "FROM", "TO", "KEY", "WHOSE"}}
	for _, b := range fanouts {
		whose := "another team's"
		if b.Source == fanout.Exchange && b.Kind == "queue" && b.Destination == fanout.Queue {
			whose = "the previous release's"
		}
		rows = append(rows, bindingRow(b, whose))
	}
	for _, b := range topics {
		whose := "another team's"
		if b.Kind == "queue" && strings.HasPrefix(b.Destination, event.Service+".") {
			whose = "ours"
		}
		rows = append(rows, bindingRow(b, whose))
	}
	return rows
}

func bindingRow(b event.Binding, whose string) []string {
	return []string{b.Kind, b.Source, b.Destination, cmp.Or(b.Key, noCell), whose}
}

// writerRows shows who else publishes to the fanout exchange.
func writerRows(e event.ExchangeState) [][]string {
	rows := [][]string{{"OTHERS PUBLISH TO", "CONNECTION"}}
	for _, w := range e.ForeignWriters() {
		rows = append(rows, []string{e.Name, w.Name()})
	}
	return rows
}

func processRows(at time.Time, processes []fanout.Process) [][]string {
	rows := [][]string{{"PROCESS", "ROLE", "VERSION", "PHASE", "SEEN"}}
	for _, p := range processes {
		seen := ago(at, p.SeenAt)
		switch {
		case p.StoppedAt != nil:
			seen = "stopped " + ago(at, *p.StoppedAt)
		case !p.Alive(at):
			seen += ", silent since"
		}
		rows = append(rows, []string{p.ID, p.Role, p.Version, string(p.Phase), seen})
	}
	return rows
}

func ago(now, then time.Time) string { return now.Sub(then).Round(time.Second).String() + " ago" }

func printShadows(out io.Writer, s fanout.Shadows) {
	fmt.Fprintf(out, "mails compared since %s: %d match, %d differ\n", s.Since.UTC().Format(time.DateTime), s.Matched, s.Mismatched)
	if s.Mismatched == 0 {
		return
	}
	for _, field := range slices.Sorted(maps.Keys(s.Fields)) {
		fmt.Fprintf(out, "  %d differ in %s\n", s.Fields[field], field)
	}
	if s.LastMismatch != nil {
		fmt.Fprintf(out, "  the last at %s; newest events: %s\n", s.LastMismatch.UTC().Format(time.DateTime), strings.Join(s.MismatchedEvents, ", "))
	}
}
