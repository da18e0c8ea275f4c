package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/pkg/database"
)

// deadLetters is `consumer dlq`.
func deadLetters() *cobra.Command {
	group := &cobra.Command{
		Use: "dlq", Short: "List, replay or discard dead letters",
		Long: "Dead letters are events that could not be handled. QUEUE is " + app.EmailQueue + ", " + app.SubscriptionQueue + ", " +
			app.ProjectQueue + " or " + app.LegacyQueue + ". Bodies are never shown: they can hold codes and addresses.",
	}
	var asJSON bool
	var ids []string
	var reason string
	group.PersistentFlags().BoolVar(&asJSON, "json", false, "print JSON")

	list := &cobra.Command{Use: "list QUEUE", Short: "List the dead letters of a queue, oldest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, log, err := load(config.Consumer, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			letters, err := app.NewDeadLetters(cfg, nil, args[0], log).List(cmd.Context())
			if err != nil {
				return err
			}
			return printLetters(cmd.OutOrStdout(), asJSON, letters)
		}}
	replay := &cobra.Command{Use: "replay QUEUE", Short: "Put dead letters back into their queue, attempts reset", Args: cobra.ExactArgs(1),
		Long: "Each is published, confirmed and only then removed. A mail that was accepted after all is removed, not sent again.",
		RunE: withConfig(func(cmd *cobra.Command, cfg config.Config, db *database.DB, args []string) error {
			outcomes, err := app.NewDeadLetters(cfg, db, args[0], zerolog.Nop()).Replay(cmd.Context(), ids)
			return errors.Join(printOutcomes(cmd.OutOrStdout(), asJSON, outcomes), err)
		})}
	discard := &cobra.Command{Use: "discard QUEUE", Short: "Remove dead letters for good", Args: cobra.ExactArgs(1),
		Long: "Nothing else remembers a discarded event, so the reason goes to the log.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("say why with --reason; it is written to the log")
			}
			cfg, log, err := load(config.Consumer, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			outcomes, err := app.NewDeadLetters(cfg, nil, args[0], log).Discard(cmd.Context(), ids)
			for _, o := range outcomes {
				// Without a level: LOGGER_LEVEL must not swallow the only record there is.
				log.Log().Str("queue", o.Queue).Str("event_id", o.EventID).Str("routing_key", o.RoutingKey).
					Str("dead_reason", o.Reason).Str("reason", reason).Msg("dead letter discarded")
			}
			return errors.Join(printOutcomes(cmd.OutOrStdout(), asJSON, outcomes), err)
		}}
	for _, c := range []*cobra.Command{replay, discard} {
		c.Flags().StringSliceVar(&ids, "id", nil, "only this event; may be repeated (default: all of the queue)")
	}
	discard.Flags().StringVar(&reason, "reason", "", "why, for the log")
	group.AddCommand(list, replay, discard)
	return group
}

func printLetters(out io.Writer, asJSON bool, letters []event.DeadLetter) error {
	if asJSON {
		return printJSON(out, letters)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "EVENT\tROUTING KEY\tREASON\tCLASS\tATTEMPTS\tDEAD SINCE\tBYTES")
	for _, l := range letters {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d\n", l.EventID, l.RoutingKey, l.Reason, l.ErrorClass, l.Attempts, l.DeadSince, l.BodyBytes)
	}
	return w.Flush()
}

// printOutcomes tells what has happened, also when an error follows.
func printOutcomes(out io.Writer, asJSON bool, outcomes []app.Outcome) error {
	if asJSON {
		return printJSON(out, outcomes)
	}
	for _, o := range outcomes {
		fmt.Fprintln(out, o.Action, o.EventID)
	}
	fmt.Fprintf(out, "%d handled\n", len(outcomes))
	return nil
}

func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
