package command

import (
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/pkg/database"
)

// API is the command tree of the binary api.
func API() *cobra.Command {
	root := newRoot(config.API, "HTTP side of the SMAP Identity Service", "Serve HTTP and relay events", stdout,
		func(i invocation) (*app.App, error) { return app.NewAPI(i.Context(), i.cfg, version(), i.log) })
	root.AddCommand(migrate(), admin(config.Migrate), userCommand(config.Support), mailCommand(config.Resend),
		healthCommand(config.API))
	return strict(root)
}

// admin is the same for the database of every role.
func admin(role config.Role) *cobra.Command {
	group := &cobra.Command{Use: "admin", Short: "Administer users"}
	group.AddCommand(&cobra.Command{
		Use: "promote EMAIL", Short: "Make a registered user an administrator", Args: cobra.ExactArgs(1),
		RunE: onDatabase(role, func(i invocation, db *database.DB) error {
			if err := app.Promote(i.Context(), db, i.args[0]); err != nil {
				return err
			}
			i.print("promoted; the role is in tokens from the next login on")
			return nil
		}),
	})
	return group
}
