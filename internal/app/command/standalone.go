package command

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/pkg/database"
)

// Standalone is the command tree of the binary standalone.
func Standalone() *cobra.Command {
	root := newRoot("standalone", "The whole SMAP Identity Service in one process, on embedded parts", &cobra.Command{
		Use: "serve", Short: "Serve everything (the default)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, log, err := load(config.Standalone, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			s, err := app.NewStandalone(cmd.Context(), cfg, version(), log)
			if err != nil {
				return err
			}
			tellWhere(cmd.OutOrStdout(), s)
			return s.Run(cmd.Context())
		},
	})
	root.AddCommand(&cobra.Command{
		Use: "demo", Short: "Walk a person's way through a throw-away standalone and tell the story", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout()) },
	}, admin(onEmbeddedDatabase))
	return root
}

// onEmbeddedDatabase is onDatabase for the file in DATA_DIR, whether the standalone runs or not.
func onEmbeddedDatabase(run onDatabaseFunc) runFunc {
	return func(cmd *cobra.Command, args []string) error {
		cfg, _, err := load(config.Standalone, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return app.WithEmbeddedDatabase(cfg, func(db *database.DB) error { return run(cmd, db, args) })
	}
}

func tellWhere(out io.Writer, s *app.Standalone) {
	fmt.Fprintf(out, `SMAP Identity Service, standalone

  API       %[1]s
  API docs  %[1]s/docs
  Inbox     %[2]s
  Metrics   %[3]s/metrics

Register somebody and look into the inbox; Ctrl-C stops everything.

  curl -s %[1]s/authentication/register -H 'Content-Type: application/json' \
       -d '{"email":"you@example.com","password":"correct horse"}'

`, s.APIURL(), s.InboxURL(), s.MonitorURL())
}
