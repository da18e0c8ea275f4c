package legacy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	eventmq "github.com/smap-platform/identity/internal/event/rabbitmq"
)

// Command returns `consumer fanout`. with runs a function with the tool of the configured servers.
func Command(with func(cmd *cobra.Command, run func(*Tool) error) error) *cobra.Command {
	group := &cobra.Command{
		Use: "fanout", Short: "Leave the previous release's fanout: what is there, and whether the next step is safe",
		Long: "The phases are prepare, dual, cutover, complete (EVENTS_MIGRATION_PHASE); docs/migration-guide.md walks through them.",
	}
	group.AddCommand(statusCommand(with), cleanupCommand(with))
	return group
}

func statusCommand(with func(*cobra.Command, func(*Tool) error) error) *cobra.Command {
	var to string
	var since time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show both paths and say whether a step is safe; fails when it is not", Args: cobra.NoArgs,
		Long: "Without --to the step is the one after the phase of the hindmost living api process. Some facts are known to " +
			"RabbitMQ's management API only (RABBITMQ_MANAGEMENT_URL); a step that needs one that is unknown is not safe.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != "" && !slices.Contains(Phases, Phase(to)) {
				return fmt.Errorf("--to %q is not a phase; there are %v", to, Phases)
			}
			return with(cmd, func(t *Tool) error {
				f, err := t.Facts(cmd.Context(), since)
				if err != nil {
					return err
				}
				return printStatus(cmd.OutOrStdout(), asJSON, f, cmp.Or(Phase(to), f.Next()))
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the phase to go to: prepare, dual, cutover or complete (default: the next one)")
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back comparisons count")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func cleanupCommand(with func(*cobra.Command, func(*Tool) error) error) *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Delete the previous release's queue and exchange, once nobody needs them", Args: cobra.NoArgs,
		Long: "Deletes " + Queue + " and " + Exchange + " when nothing speaks against it, and says what does. " +
			"It looks twice, 11 seconds apart, because the management API's figures are that late.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return with(cmd, func(t *Tool) error {
				c, err := t.CleanUp(cmd.Context(), dryRun)
				return printCleanup(cmd.OutOrStdout(), dryRun, c, err)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be deleted, or why not")
	return cmd
}

// printStatus shows the facts and the verdict on the step to phase to. It returns an error when the step is not safe.
func printStatus(out io.Writer, asJSON bool, f Facts, to Phase) error {
	v := Judge(f, to)
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(struct {
			To Phase `json:"to"`
			Verdict
			Facts Facts `json:"facts"`
		}{to, v, f}); err != nil {
			return err
		}
	} else {
		if err := printFacts(out, f); err != nil {
			return err
		}
		printVerdict(out, v)
		if v.Safe {
			fmt.Fprintln(out, "safe to go to", to)
		}
	}
	if !v.Safe {
		return fmt.Errorf("it is not safe to go to %s", to)
	}
	return nil
}

var errCleanupRefused = errors.New("nothing was deleted")

// printCleanup says what was deleted, also when failed says that the cleanup ended early. It returns failed, or an error
// of its own when nothing may be deleted.
func printCleanup(out io.Writer, dryRun bool, c Cleanup, failed error) error {
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

func printVerdict(out io.Writer, v Verdict) {
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

// printFacts shows one table each for queues, other programs, bindings and processes, and what else there is.
func printFacts(out io.Writer, f Facts) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	queues := slices.Concat([]eventmq.QueueState{f.Old, f.Email.Main}, f.Email.Retry, []eventmq.QueueState{f.Email.Dead, f.Legacy.Main},
		f.Legacy.Retry, []eventmq.QueueState{f.Legacy.Dead}, f.Others)
	fmt.Fprintln(w, "QUEUE\tREADY\tUNACKED\tOURS\tFOREIGN\tCAME IN 5 MIN")
	var others []string
	for _, q := range queues {
		switch {
		case strings.Contains(q.Name, ".retry.") && q.Ready == 0 && q.Consumers == 0: // most are, and as they should be
		case !q.Exists:
			fmt.Fprintf(w, "%s\tmissing\t-\t-\t-\t-\n", q.Name)
		default:
			ours, foreign := fmt.Sprintf("%d, whose?", q.Consumers), "?"
			if q.Readers != nil {
				ours, foreign = fmt.Sprint(q.Ours()), fmt.Sprint(len(q.Foreign()))
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", q.Name, q.Ready, number(q.Unacked), ours, foreign, number(q.Arrived))
		}
		for _, r := range q.Foreign() {
			others = append(others, "reads "+q.Name+"\t"+r.Name())
		}
	}
	for _, writer := range f.Fanout.ForeignWriters() {
		others = append(others, "publishes to "+f.Fanout.Name+"\t"+writer.Name())
	}
	if len(others) > 0 {
		fmt.Fprintf(w, "\nANOTHER PROGRAM\tCONNECTION\n%s\n", strings.Join(others, "\n"))
	}
	fmt.Fprintln(w, "\nBINDING\tFROM\tTO\tKEY")
	for _, b := range slices.Concat(f.Bindings, f.OfTopic) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", b.Kind, b.Source, b.Destination, cmp.Or(b.Key, "-"))
	}
	fmt.Fprintln(w, "\nPROCESS\tROLE\tVERSION\tPHASE\tSEEN")
	for _, p := range f.Processes {
		seen, state := p.SeenAt, ""
		switch {
		case p.StoppedAt != nil:
			seen, state = *p.StoppedAt, ", stopped"
		case !p.Alive(f.At):
			state = ", silent since"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s ago%s\n", p.ID, p.Role, p.Version, p.Note, f.At.Sub(seen).Round(time.Second), state)
	}
	s := f.Shadows
	fmt.Fprintf(w, "\nrows for %s in the outbox: %d\nmails compared since %s: %d match, %d differ\n", Exchange, f.Waiting,
		s.Since.UTC().Format(time.DateTime), s.Matched, s.Mismatched)
	if s.Mismatched > 0 {
		fmt.Fprintf(w, "  by field: %v; newest events: %s\n", s.Fields, strings.Join(s.MismatchedEvents, ", "))
	}
	for _, text := range f.Unknown {
		fmt.Fprintln(w, "cannot know", text)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// number returns a figure, or ? when it is unknown; the reason is among what cannot be known.
func number(n *int) string {
	if n == nil {
		return "?"
	}
	return fmt.Sprint(*n)
}
