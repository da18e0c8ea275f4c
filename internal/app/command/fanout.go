package command

import (
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/event/fanout"
	"github.com/smap-platform/identity/pkg/database"
)

// fanoutCommand is `consumer fanout`.
func fanoutCommand() *cobra.Command {
	group := &cobra.Command{
		Use: "fanout", Short: "Leave the previous release's fanout: what is there, and whether the next step is safe",
		Long: "The phases are prepare, dual, cutover, complete (EVENTS_MIGRATION_PHASE); docs/migration-guide.md walks through them.",
	}
	group.AddCommand(fanoutStatus(), fanoutCleanup())
	return group
}

func fanoutStatus() *cobra.Command {
	var to string
	var since time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show both paths and say whether a step is safe; fails when it is not", Args: cobra.NoArgs,
		Long: "Without --to the step is the one after the phase of the hindmost living api process. What only RabbitMQ's " +
			"management API knows is asked there (RABBITMQ_MANAGEMENT_URL); what nobody could tell makes a step that needs it unsafe.",
		PreRunE: func(*cobra.Command, []string) error {
			if to != "" && !slices.Contains(fanout.Phases, fanout.Phase(to)) {
				return fmt.Errorf("--to %q is not a phase; there are %v", to, fanout.Phases)
			}
			return nil
		},
		RunE: withConfig(func(cmd *cobra.Command, cfg config.Config, db *database.DB, _ []string) error {
			tool, err := app.NewFanout(cmd.Context(), cfg, db, zerolog.Nop())
			if err != nil {
				return err
			}
			facts, err := tool.Facts(cmd.Context(), since)
			if err != nil {
				return err
			}
			return printStatus(cmd.OutOrStdout(), asJSON, facts, fanout.Phase(to))
		}),
	}
	cmd.Flags().StringVar(&to, "to", "", "the phase to go to: prepare, dual, cutover or complete (default: the next one)")
	cmd.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back comparisons count")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func fanoutCleanup() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Delete the previous release's queue and exchange, once nobody needs them", Args: cobra.NoArgs,
		Long: "Deletes " + fanout.Queue + " and " + fanout.Exchange + " when nothing speaks against it, and says what does. " +
			"It looks twice, 11 seconds apart, because the management API's figures are that late.",
		RunE: withConfig(func(cmd *cobra.Command, cfg config.Config, db *database.DB, _ []string) error {
			tool, err := app.NewFanout(cmd.Context(), cfg, db, zerolog.Nop())
			if err != nil {
				return err
			}
			outcome, err := tool.CleanUp(cmd.Context(), dryRun)
			return printCleanup(cmd.OutOrStdout(), dryRun, outcome, err)
		}),
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be deleted, or why not")
	return cmd
}
