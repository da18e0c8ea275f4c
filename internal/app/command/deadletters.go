package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/terminal"
)

// flushEvery is how many lines of a list share the widths of their columns.
const flushEvery = 1000

// deadLetterFlags are what the commands of `consumer dlq` have in common.
type deadLetterFlags struct {
	operations.Selection
	asJSON    bool
	perSecond int
	why       string
}

// deadLetters is `consumer dlq`.
func deadLetters() *cobra.Command { return (&deadLetterFlags{}).commands() }

func (f *deadLetterFlags) commands() *cobra.Command {
	group := &cobra.Command{
		Use: "dlq", Short: "List, show, replay or discard dead letters",
		Long: "Dead letters are events that could not be handled. QUEUE is " + app.EmailQueue + ", " + app.InvitationQueue + ", " +
			app.SubscriptionQueue + ", " + app.ProjectQueue + " or " + app.LegacyQueue +
			". Bodies are never shown: they can hold codes and addresses.",
	}
	group.PersistentFlags().BoolVar(&f.asJSON, "json", false, "print JSON")
	list := &cobra.Command{
		Use: "list QUEUE", Short: "List the dead letters of a queue, oldest first", Args: cobra.ExactArgs(1),
		RunE: configured(config.Consumer, stderr, f.list),
	}
	show := &cobra.Command{
		Use: "show QUEUE", Short: "Show everything that may be seen of dead letters", Args: cobra.ExactArgs(1),
		Long: "Of a body the size and the digest are shown, of headers that are not this service's the length.",
		RunE: configured(config.Consumer, stderr, f.show),
	}
	replay := &cobra.Command{
		Use: "replay QUEUE", Short: "Put dead letters back into their queue, attempts reset", Args: cobra.ExactArgs(1),
		Long: "Each is published, confirmed and only then removed. A mail that was accepted after all is removed, not sent again.",
		RunE: onDatabase(config.Consumer, f.replay),
	}
	discard := &cobra.Command{
		Use: "discard QUEUE", Short: "Remove dead letters for good", Args: cobra.ExactArgs(1),
		Long: "Nothing else remembers a discarded event, so the reason goes to the log.",
		RunE: configured(config.Consumer, stderr, f.discard),
	}
	for _, c := range []*cobra.Command{list, show, replay, discard} {
		c.Flags().StringArrayVar(&f.IDs, "id", nil, "only this event; may be repeated")
		c.Flags().StringVar(&f.Reason, "dead-reason", "", "only those with this reason, as list shows it")
		c.Flags().StringVar(&f.Key, "key", "", "only those with this routing key")
		c.Flags().DurationVar(&f.OlderThan, "older-than", 0, "only those dead for longer, such as 24h")
		c.Flags().DurationVar(&f.NewerThan, "newer-than", 0, "only those dead for less")
	}
	for _, c := range []*cobra.Command{show, replay, discard} {
		c.Flags().BoolVar(&f.All, "all", false, "all of the queue")
	}
	for _, c := range []*cobra.Command{replay, discard} {
		c.Flags().IntVar(&f.perSecond, "rate", 0, "how many a second at most (default: no limit)")
	}
	discard.Flags().StringVar(&f.why, "reason", "", "why, for the log and the record")
	nameOperator(replay)
	nameOperator(discard)
	group.AddCommand(list, show, replay, discard)
	return group
}

// letters returns the dead letters of the queue that i names, once the selection has been checked. explicit is as in
// [operations.Selection.Check].
func (f *deadLetterFlags) letters(i invocation, db *database.DB, explicit bool) (*app.DeadLetters, error) {
	if err := errors.Join(zeroAge(i.Command), f.Check(explicit)); err != nil {
		return nil, err
	}
	if f.perSecond < 0 {
		return nil, errors.New("--rate cannot be negative")
	}
	d := app.NewDeadLetters(i.cfg, db, i.args[0])
	d.PerSecond = f.perSecond
	if out, ok := i.ErrOrStderr().(*os.File); ok && isatty.IsTerminal(out.Fd()) {
		d.Progress = progress(out)
	}
	return d, nil
}

// zeroAge returns an error for an age of zero: it would choose every letter.
func zeroAge(c *cobra.Command) error {
	for _, name := range []string{"older-than", "newer-than"} {
		if flag := c.Flags().Lookup(name); flag.Changed && flag.Value.String() == "0s" {
			return fmt.Errorf("--%s is zero", name)
		}
	}
	return nil
}

// progress returns a function that says once a second how far a walk has come.
func progress(out io.Writer) func(seen, handled int) {
	last := time.Now()
	return func(seen, handled int) {
		if now := time.Now(); now.Sub(last) >= time.Second {
			last = now
			fmt.Fprintf(out, "seen %d, handled %d\n", seen, handled)
		}
	}
}

func (f *deadLetterFlags) list(i invocation) error {
	d, err := f.letters(i, nil, false)
	if err != nil {
		return err
	}
	if f.asJSON {
		return printArray(i.OutOrStdout(), func(each func(event.DeadLetter) error) error {
			return d.List(i.Context(), f.Selection, each)
		})
	}
	w := tabwriter.NewWriter(i.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT\tROUTING KEY\tREASON\tCLASS\tATTEMPTS\tDEAD SINCE\tBYTES")
	lines := 0
	err = d.List(i.Context(), f.Selection, func(l event.DeadLetter) error {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d\n", terminal.Escape(l.EventID), terminal.Escape(l.RoutingKey), terminal.Escape(l.Reason),
			terminal.Escape(l.ErrorClass), l.Attempts, terminal.Escape(l.DeadSince), l.BodyBytes)
		if lines++; lines%flushEvery == 0 {
			return w.Flush()
		}
		return nil
	})
	return errors.Join(w.Flush(), err)
}

func (f *deadLetterFlags) show(i invocation) error {
	d, err := f.letters(i, nil, true)
	if err != nil {
		return err
	}
	if f.asJSON {
		return printArray(i.OutOrStdout(), func(each func(operations.Detail) error) error {
			return d.Show(i.Context(), f.Selection, each)
		})
	}
	return d.Show(i.Context(), f.Selection, func(l operations.Detail) error {
		w := tabwriter.NewWriter(i.OutOrStdout(), 0, 0, 2, ' ', 0)
		for _, line := range [][2]string{
			{"event", l.EventID}, {"routing key", l.RoutingKey}, {"reason", l.Reason}, {"class", l.ErrorClass},
			{"attempts", fmt.Sprint(l.Attempts)}, {"moves", fmt.Sprint(l.Moves)}, {"published", l.Published},
			{"first failed", l.FirstFailed}, {"dead since", l.DeadSince}, {"content type", l.ContentType},
			{"body", fmt.Sprintf("%d bytes, sha256 %s", l.BodyBytes, l.BodyDigest)},
		} {
			fmt.Fprintf(w, "%s\t%s\n", line[0], terminal.Escape(line[1]))
		}
		for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
			fmt.Fprintf(w, "header %s\t%s\n", terminal.Escape(name), terminal.Escape(l.Headers[name]))
		}
		fmt.Fprintln(w)
		return w.Flush()
	})
}

func (f *deadLetterFlags) replay(i invocation, db *database.DB) error {
	d, err := f.letters(i, db, true)
	if err != nil {
		return err
	}
	if err := f.record(i, db, audit.DeadLettersReplayed); err != nil {
		return err
	}
	return f.printOutcomes(i.OutOrStdout(), func(each func(operations.Outcome) error) error {
		return d.Replay(i.Context(), f.Selection, each)
	})
}

func (f *deadLetterFlags) discard(i invocation) error {
	d, err := f.letters(i, nil, true)
	if err != nil {
		return err
	}
	if f.why == "" {
		return errors.New("say why with --reason; it is written to the log")
	}
	err = app.WithDatabase(i.Context(), config.Consumer, i.cfg, i.log, func(db *database.DB) error {
		return f.record(i, db, audit.DeadLettersDiscarded)
	})
	if err != nil {
		return err
	}
	return f.printOutcomes(i.OutOrStdout(), func(each func(operations.Outcome) error) error {
		return d.Discard(i.Context(), f.Selection, func(o operations.Outcome) error {
			// Without a level: LOGGER_LEVEL must not swallow the only record there is.
			i.log.Log().Str("queue", o.Queue).Str("event_id", o.EventID).Str("routing_key", o.RoutingKey).
				Str("dead_reason", o.Reason).Str("reason", f.why).Msg("dead letter discarded")
			return each(o)
		})
	})
}

// record writes what is about to be done to a queue, to which letters, and why.
func (f *deadLetterFlags) record(i invocation, db *database.DB, action audit.Action) error {
	var chosen []string
	i.Flags().Visit(func(flag *pflag.Flag) {
		switch {
		case flag.Name == "by", flag.Name == "reason", flag.Name == "json":
		case flag.Value.Type() == "bool":
			chosen = append(chosen, "--"+flag.Name)
		default:
			chosen = append(chosen, "--"+flag.Name+" "+flag.Value.String())
		}
	})
	reason := strings.TrimSpace(f.why + " [" + strings.Join(chosen, " ") + "]")
	return app.RecordOperation(i.Context(), db, operatorOf(i.Command), action, i.args[0], reason)
}

// printOutcomes prints what is done, as it is done.
func (f *deadLetterFlags) printOutcomes(out io.Writer, run func(each func(operations.Outcome) error) error) error {
	if f.asJSON {
		return printArray(out, run)
	}
	handled := 0
	err := run(func(o operations.Outcome) error {
		handled++
		_, err := fmt.Fprintln(out, o.Action, terminal.Escape(o.EventID))
		return err
	})
	fmt.Fprintf(out, "%d handled\n", handled)
	return err
}

// printArray prints what run yields as one JSON array, element by element.
func printArray[T any](out io.Writer, run func(each func(T) error) error) error {
	separator := "[\n  "
	err := run(func(v T) error {
		text, err := json.MarshalIndent(v, "  ", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s%s", separator, text)
		separator = ",\n  "
		return err
	})
	if separator == "[\n  " {
		fmt.Fprint(out, "[")
	} else {
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "]")
	return err
}
