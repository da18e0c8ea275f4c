package command

import (
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
)

// API is the command tree of the binary api.
func API() *cobra.Command {
	root := newRoot(config.API, "HTTP side of the SMAP Identity Service", "Serve HTTP and relay events", stdout,
		func(i invocation) (*app.App, error) { return app.NewAPI(i.Context(), i.cfg, version(), i.log) })
	root.AddCommand(migrate(), mailCommand(config.Resend), healthCommand(config.API))
	root.AddCommand(operating{reading: config.Migrate, looking: config.Support, changing: config.Resend}.commands()...)
	return strict(root)
}
