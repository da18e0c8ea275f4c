package command

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
)

// healthCommand asks the process beside it, for container images that have no curl. It
// reads the same configuration, so it runs where that process runs.
func healthCommand(role config.Role) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Exit 0 when the process on this host's port is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(role)
			if err != nil {
				return err
			}
			port := cfg.HTTP.AppPort
			if role == config.Consumer {
				port = cfg.HTTP.ConsumerPort
			}
			host := cfg.HTTP.Host
			if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
				host = "127.0.0.1"
			}
			url := "http://" + net.JoinHostPort(host, strconv.Itoa(port)) + "/ready"
			request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			response, err := (&http.Client{Timeout: 3 * time.Second}).Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("%w: %s answers %s", errNotReady, url, response.Status)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return nil
		},
	}
}

var errNotReady = errors.New("not ready")
