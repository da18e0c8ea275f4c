package command

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
)

// healthCommand asks the process beside it, for container images that have no curl. It reads the same configuration, so
// it runs where that process runs.
func healthCommand(role config.Role) *cobra.Command {
	return &cobra.Command{
		Use: "health", Short: "Exit 0 when the process on this host's port is ready", Args: cobra.NoArgs,
		RunE: configured(role, stderr, func(i invocation) error {
			host, port := i.cfg.HTTP.Host, i.cfg.HTTP.AppPort
			if role == config.Consumer {
				port = i.cfg.HTTP.ConsumerPort
			}
			if net.ParseIP(host).IsUnspecified() {
				host = "127.0.0.1"
			}
			address := (&url.URL{Scheme: "http", Host: net.JoinHostPort(host, strconv.Itoa(port)), Path: "/ready"}).String()
			request, err := http.NewRequestWithContext(i.Context(), http.MethodGet, address, http.NoBody)
			if err != nil {
				return err
			}
			response, err := (&http.Client{Timeout: 3 * time.Second}).Do(request)
			if err != nil {
				return err
			}
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("not ready: %s answers %s", address, response.Status)
			}
			i.print("ready")
			return nil
		}),
	}
}
