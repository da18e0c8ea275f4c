package command

import (
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
)

// Standalone is the command tree of the binary standalone.
func Standalone() *cobra.Command {
	root := newRoot(config.Standalone, "The whole SMAP Identity Service in one process, on embedded parts",
		"Serve everything", stderr, func(i invocation) (*app.App, error) {
			s, err := app.NewStandalone(i.Context(), i.cfg, version(), i.log)
			if err != nil {
				return nil, err
			}
			i.print(welcome, s.APIURL(), s.Inbox().URL(), s.MonitorURL())
			return s.App, nil
		})
	root.AddCommand(&cobra.Command{
		Use: "demo", Short: "Walk a person's way through a throw-away standalone and tell the story", Args: cobra.NoArgs,
		RunE: configured(config.Standalone, stderr, demo),
	}, mailCommand(config.Standalone), lanes(config.Standalone))
	root.AddCommand(operating{
		reading: config.Standalone, looking: config.Standalone, changing: config.Standalone,
	}.commands()...)
	return strict(root)
}

// welcome shows a person where everything is.
const welcome = `SMAP Identity Service, standalone

  Open      %[1]s
  API       %[1]s
  API docs  %[1]s/docs
  Inbox     %[2]s
  Metrics   %[3]s/metrics

Register on the page and see what happens; Ctrl-C stops everything.
`
