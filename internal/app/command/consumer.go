package command

import (
	"fmt"
	"io"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/pkg/database"
)

// Consumer is the command tree of the binary consumer.
func Consumer() *cobra.Command {
	root := newRoot("consumer", "Event side of the SMAP Identity Service", &cobra.Command{
		Use: "serve", Short: "Consume the queues and relay events (the default)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, log, err := load(config.Consumer, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			consumer, err := app.NewConsumer(cmd.Context(), cfg, version(), log)
			if err != nil {
				return err
			}
			return consumer.Run(cmd.Context())
		},
	})
	root.AddCommand(deadLetters(), state(), outboxCommand(), legacy.Command(withLegacyTool), healthCommand(config.Consumer))
	return root
}

func state() *cobra.Command {
	group := &cobra.Command{Use: "state", Short: "Look after the shared state in Redis"}
	group.AddCommand(&cobra.Command{
		Use: "rebuild", Short: "Write subscription states and the progress of invitations to Redis again, from the database", Args: cobra.NoArgs,
		RunE: withConfig(func(cmd *cobra.Command, cfg config.Config, db *database.DB, _ []string) error {
			r, err := app.RebuildState(cmd.Context(), cfg, db, zerolog.New(cmd.ErrOrStderr()).With().Timestamp().Logger())
			printRebuilt(cmd.OutOrStdout(), r)
			return err
		}),
	})
	return group
}

// printRebuilt shows what was rebuilt, also before an error.
func printRebuilt(out io.Writer, r app.Rebuilt) {
	fmt.Fprintf(out, "subscriptions: read %d, written %d, already newer %d\n", r.States.Read, r.States.Written, r.States.Stale)
	fmt.Fprintf(out, "invitations: %d batches, %d mails that have ended\n", r.Progress.Batches, r.Progress.Items)
}

func outboxCommand() *cobra.Command {
	group := &cobra.Command{Use: "outbox", Short: "Look after the outbox"}
	group.AddCommand(&cobra.Command{
		Use: "retry", Short: "Make the rows the relay has given up due again", Args: cobra.NoArgs,
		RunE: withConfig(func(cmd *cobra.Command, _ config.Config, db *database.DB, _ []string) error {
			n, err := app.RetryOutbox(cmd.Context(), db)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%d rows are due again\n", n)
			}
			return err
		}),
	})
	return group
}

// withLegacyTool runs a function with the tool of the configured servers.
func withLegacyTool(cmd *cobra.Command, run func(*legacy.Tool) error) error {
	return withConfig(func(cmd *cobra.Command, cfg config.Config, db *database.DB, _ []string) error {
		tool, err := app.LegacyTool(cmd.Context(), cfg, db)
		if err != nil {
			return err
		}
		return run(tool)
	})(cmd, nil)
}

// withConfig makes a command of the consumer that needs the database. Logs go to stderr.
func withConfig(run func(cmd *cobra.Command, cfg config.Config, db *database.DB, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, log, err := load(config.Consumer, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return app.WithDatabase(cmd.Context(), cfg, log, func(db *database.DB) error { return run(cmd, cfg, db, args) })
	}
}
