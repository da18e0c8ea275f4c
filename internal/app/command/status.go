package command

import (
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/status"
)

// statusCommand is `consumer status`.
func statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show how the whole service is, the worst first; fails unless all is well", Args: cobra.NoArgs,
		Long: "It asks the database, RabbitMQ and Redis, of which none has to be there. What a consumer knows\n" +
			"itself, its lanes and its scheduler, is from its last heartbeat. How many messages are unacknowledged is known only\n" +
			"with RABBITMQ_MANAGEMENT_URL. What is unknown is –.",
		RunE: configured(config.Consumer, stderr, func(i invocation) error {
			facts, err := app.ReadStatus(i.Context(), i.cfg, version())
			if err != nil {
				return err
			}
			problems := status.Judge(facts)
			write := status.Write
			if asJSON {
				write = status.WriteJSON
			}
			if err := write(i.OutOrStdout(), facts, problems); err != nil {
				return err
			}
			return status.Well(facts, problems)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
