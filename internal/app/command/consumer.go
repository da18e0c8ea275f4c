package command

import (
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/audit"
	"github.com/smap-platform/identity/internal/legacy"
	"github.com/smap-platform/identity/pkg/database"
)

// Consumer is the command tree of the binary consumer.
func Consumer() *cobra.Command {
	root := newRoot(config.Consumer, "Event side of the SMAP Identity Service", "Consume the queues and relay events", stdout,
		func(i invocation) (*app.App, error) { return app.NewConsumer(i.Context(), i.cfg, version(), i.log) })
	root.AddCommand(statusCommand(), lanes(config.Consumer), deadLetters(), state(), outboxCommand(), purge(), migration(), healthCommand(config.Consumer))
	return strict(root)
}

func state() *cobra.Command {
	group := &cobra.Command{Use: "state", Short: "Look after the shared state in Redis"}
	rebuild := &cobra.Command{
		Use: "rebuild", Short: "Write subscription states and the progress of invitations to Redis again, from the database",
		Args: cobra.NoArgs,
		RunE: onDatabase(config.Consumer, func(i invocation, db *database.DB) error {
			if err := app.RecordOperation(i.Context(), db, operatorOf(i.Command), audit.StateRebuilt, "", ""); err != nil {
				return err
			}
			r, err := app.RebuildState(i.Context(), i.cfg, db, i.log)
			printRebuilt(i, r)
			return err
		}),
	}
	nameOperator(rebuild)
	group.AddCommand(rebuild)
	return group
}

// printRebuilt shows what was rebuilt. What was not is in the command's error, item by item.
func printRebuilt(i invocation, r app.Rebuilt) {
	s, p := r.States, r.Progress
	i.print("subscriptions: read %d, written %d, already newer %d, failed %d", s.Read, s.Written, s.Stale, s.Failed)
	i.print("invitations: %d batches, %d mails that have ended, %d batches failed", p.Batches, p.Items, p.Failed)
}

func purge() *cobra.Command {
	c := &cobra.Command{
		Use: "purge", Short: "Delete expired rows, and erase who was deleted, now instead of within the hour", Args: cobra.NoArgs,
		RunE: onDatabase(config.Consumer, func(i invocation, db *database.DB) error {
			ctx := audit.WithOrigin(i.Context(), audit.Origin{Operator: operatorOf(i.Command)})
			return app.Purge(ctx, i.cfg, db, i.log)
		}),
	}
	nameOperator(c)
	return c
}

func outboxCommand() *cobra.Command {
	group := &cobra.Command{Use: "outbox", Short: "Look after the outbox"}
	retry := &cobra.Command{
		Use: "retry", Short: "Make the rows the relay has given up due again", Args: cobra.NoArgs,
		RunE: onDatabase(config.Consumer, func(i invocation, db *database.DB) error {
			n, err := app.RetryOutbox(i.Context(), db, operatorOf(i.Command))
			if err == nil {
				i.print("%d rows are due again", n)
			}
			return err
		}),
	}
	nameOperator(retry)
	group.AddCommand(retry)
	return group
}

// nameOperator adds the flag for who repairs something. In an emergency it can be left out.
func nameOperator(c *cobra.Command) {
	c.Flags().String("by", "not said", "who you are, for the record")
}

func operatorOf(c *cobra.Command) string { return c.Flags().Lookup("by").Value.String() }

// migration is what operators see and do on the way from the previous release.
func migration() *cobra.Command {
	group := legacy.Command(withLegacyTool)
	for _, c := range group.Commands() {
		if c.Name() == "cleanup" {
			nameOperator(c)
		}
	}
	return group
}

// withLegacyTool runs a function with the tool of the configured servers.
func withLegacyTool(cmd *cobra.Command, run func(*legacy.Tool) error) error {
	return onDatabase(config.Consumer, func(i invocation, db *database.DB) error {
		if cmd.Flags().Lookup("by") != nil {
			cmd.SetContext(audit.WithOrigin(cmd.Context(), audit.Origin{Operator: operatorOf(cmd)}))
		}
		tool, err := app.LegacyTool(i.Context(), i.cfg, db)
		if err != nil {
			return err
		}
		return run(tool)
	})(cmd, nil)
}
