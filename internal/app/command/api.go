package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/pkg/database"
)

// API is the command tree of the binary api.
func API() *cobra.Command {
	root := newRoot("api", "HTTP side of the SMAP Identity Service", &cobra.Command{
		Use: "serve", Short: "Serve HTTP and relay events (the default)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, log, err := load(config.API, cmd.OutOrStdout())
			if err != nil {
				return err
			}
			api, err := app.NewAPI(cmd.Context(), cfg, version(), log)
			if err != nil {
				return err
			}
			return api.Run(cmd.Context())
		},
	})
	root.AddCommand(migrate(), admin(onDatabase), healthCommand(config.API))
	return root
}

// admin is the same for every database; on makes a command on the program's own.
func admin(on func(onDatabaseFunc) runFunc) *cobra.Command {
	group := &cobra.Command{Use: "admin", Short: "Administer users"}
	group.AddCommand(&cobra.Command{Use: "promote EMAIL", Short: "Make a registered user an administrator", Args: cobra.ExactArgs(1),
		RunE: on(func(cmd *cobra.Command, db *database.DB, args []string) error {
			if err := app.Promote(cmd.Context(), db, args[0]); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "promoted; the role is in tokens from the next login on")
			return nil
		})})
	return group
}

// runFunc is what cobra runs, onDatabaseFunc what it runs with a database.
type (
	runFunc        = func(*cobra.Command, []string) error
	onDatabaseFunc = func(cmd *cobra.Command, db *database.DB, args []string) error
)

// onDatabase makes a command that needs the database and nothing else. Logs go to stderr.
func onDatabase(run onDatabaseFunc) runFunc {
	return func(cmd *cobra.Command, args []string) error {
		cfg, log, err := load(config.Migrate, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return app.WithDatabase(cmd.Context(), cfg, log, func(db *database.DB) error { return run(cmd, db, args) })
	}
}
