package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/smap-platform/identity/test/harness"
)

// servers are those of deployments/cluster.sh, by the names that it gives them.
type servers struct {
	script string
}

// The kinds of servers, and how many there are of each.
var kinds = map[string]int{"rabbitmq": 3, "redis": 2, "sentinel": 3, "postgres": 2}

func findServers() (*servers, error) {
	if os.Getenv("CLUSTER_RUN") == "" {
		return nil, errors.New("this needs the cluster: run deployments/cluster.sh up and . .stack/cluster/env, or make chaos")
	}
	root, err := harness.Repository()
	if err != nil {
		return nil, err
	}
	return &servers{script: filepath.Join(root, "deployments", "cluster.sh")}, nil
}

func firstOf(list string) string { first, _, _ := strings.Cut(list, ","); return first }

// port is where server n of a kind listens.
func port(kind string, n int) string {
	return os.Getenv(fmt.Sprintf("CLUSTER_%s%d_PORT", strings.ToUpper(kind), n))
}

// addresses are those of all servers of a kind.
func addresses(kind string) (all []string) {
	for n := range kinds[kind] {
		all = append(all, net.JoinHostPort("127.0.0.1", port(kind, n+1)))
	}
	return all
}

// call runs the script.
func (s *servers) call(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, s.script, args...) //nolint:gosec // G204: our own script and words
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("cluster.sh %q: %w\n%s", args, err, out)
	}
	return nil
}

// each calls a verb of the script for one server after the other.
func (s *servers) each(ctx context.Context, verb string, names ...string) error {
	for _, name := range names {
		if err := s.call(ctx, verb, name); err != nil {
			return err
		}
	}
	return nil
}

// database is the URL of a database of PostgreSQL n.
func database(n int, name string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(os.Getenv("POSTGRES_USER"), os.Getenv("POSTGRES_PASSWORD")),
		Host:     net.JoinHostPort("127.0.0.1", port("postgres", n)),
		Path:     "/" + name,
		RawQuery: "sslmode=disable&connect_timeout=3",
	}
	return u.String()
}
