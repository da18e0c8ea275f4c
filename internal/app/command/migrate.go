package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

func migrate() *cobra.Command {
	group := &cobra.Command{Use: "migrate", Short: "Look at the database's schema and change it"}
	group.AddCommand(
		&cobra.Command{Use: "up", Short: "Take every pending step", Args: cobra.NoArgs, RunE: onDatabase(config.Migrate, migrateUp)},
		&cobra.Command{Use: "down", Short: "Take the newest step back", Args: cobra.NoArgs, RunE: onDatabase(config.Migrate, migrateDown)},
		&cobra.Command{Use: "status", Short: "List the steps, the rows in their way, and odd rows; fails when steps are pending",
			Args: cobra.NoArgs, RunE: onDatabase(config.Migrate, migrateStatus)},
	)
	return group
}

func migrateUp(i invocation, db *database.DB) error {
	applied, err := schema.Up(i.Context(), db)
	for _, step := range applied {
		i.print("applied %s", step)
	}
	if err == nil && len(applied) == 0 {
		i.print("nothing to do")
	}
	return err
}

func migrateDown(i invocation, db *database.DB) error {
	step, err := schema.Down(i.Context(), db)
	if refused, ok := errors.AsType[*schema.ObstaclesError](err); ok {
		printObstacles(i.OutOrStdout(), refused.Obstacles)
	}
	switch {
	case err != nil:
		return err
	case step == "":
		i.print("nothing to do")
	default:
		i.print("took back %s", step)
	}
	return nil
}

func migrateStatus(i invocation, db *database.DB) error {
	steps, err := schema.Status(i.Context(), db)
	if err != nil {
		return err
	}
	obstacles, err := schema.Obstacles(i.Context(), db)
	if err != nil {
		return err
	}
	pending := 0
	for _, s := range steps {
		when := "pending"
		if s.AppliedAt.IsZero() {
			pending++
		} else {
			when = "applied " + s.AppliedAt.UTC().Format("2006-01-02 15:04:05")
		}
		i.print("%-40s %s", s.Name, when)
	}
	printObstacles(i.OutOrStdout(), obstacles)
	oddities, err := schema.Oddities(i.Context(), db, schema.Addresses{Found: isFound, Valid: isValid})
	if err != nil {
		return err
	}
	printOddities(i.OutOrStdout(), oddities)
	due, overdue, err := app.DueSubscriptions(i.Context(), db, i.cfg.Subscriptions.PastDueGrace, pending == 0)
	if err != nil {
		return err
	}
	if due > 0 {
		i.print("\nended, and not expired yet: %d subscriptions, %d of them more than 7 days ago", due, overdue)
		i.print("  -> SUBSCRIPTION_SCHEDULER=on expires them with an event each, the latter at 50 a second")
	}
	switch {
	case len(obstacles) > 0:
		return fmt.Errorf("%d steps are pending, and rows are in their way; change those, then run `api migrate up`", pending)
	case pending > 0:
		return fmt.Errorf("%d steps are pending; run `api migrate up`", pending)
	}
	return nil
}

// printObstacles shows the rows in full, addresses included: they are for the person who has to change them.
func printObstacles(out io.Writer, obstacles []schema.Obstacle) {
	for _, o := range obstacles {
		fmt.Fprintf(out, "\nin the way: %d %s\n", len(o.Rows), o.Rule)
		for _, r := range o.Rows {
			line := fmt.Sprintf("user %s %q", r.UserID, r.Username)
			if r.SubscriptionID != "" {
				line += " subscription " + r.SubscriptionID
			}
			fmt.Fprintf(out, "  %s, %s, since %s\n", line, r.State, r.Since.Format("2006-01-02 15:04:05"))
		}
		fmt.Fprintf(out, "  -> %s\n", o.Rule.Remedy())
	}
}

// isFound reports whether a user who types the stored address is found by it.
func isFound(address string) bool {
	typed, err := authentication.TypedEmail(address)
	return err == nil && typed == address
}

// isValid reports whether the address could be registered today.
func isValid(address string) bool {
	_, err := authentication.ParseEmail(address)
	return err == nil
}

// printOddities shows the first rows of each kind in full, as printObstacles does.
func printOddities(out io.Writer, oddities []schema.Oddity) {
	for _, o := range oddities {
		fmt.Fprintf(out, "\nodd, but not in the way: %s (%d)\n", o.Kind, o.Count)
		for _, r := range o.Rows {
			fmt.Fprintf(out, "  %s %s %q\n", strings.TrimSuffix(r.Table, "s"), r.ID, r.Name)
		}
		if more := o.Count - len(o.Rows); more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
		fmt.Fprintf(out, "  -> %s\n", o.Note)
	}
}
