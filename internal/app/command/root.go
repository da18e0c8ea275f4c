// Package command is the command line of the binaries: cobra trees that load the configuration, call package app and
// print. cmd/* only executes them.
package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/pkg/logger"
)

// Version is set by the linker (-X); a build without it tells its commit.
var Version = ""

func version() string {
	if Version != "" {
		return Version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "dev-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "dev"
}

// Execute runs root until it ends or SIGINT or SIGTERM asks it to; a second signal ends the process at once. It
// returns the process's exit code: 0, or 1 after an error, which it has printed.
func Execute(root *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, root.Name()+":", err)
		return 1
	}
	return 0
}

// newRoot returns a root command that serves when no subcommand is named.
func newRoot(name, short string, serve *cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use: name, Short: short, Version: version(), Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true, RunE: serve.RunE,
	}
	root.AddCommand(serve)
	return root
}

// load reads the configuration of role and makes its logger, which writes to out.
func load(role config.Role, out io.Writer) (config.Config, zerolog.Logger, error) {
	cfg, err := config.Load(role)
	if err != nil {
		return cfg, zerolog.Nop(), err
	}
	log, err := newLogger(cfg, role, out)
	return cfg, log, err
}

func newLogger(cfg config.Config, role config.Role, out io.Writer) (zerolog.Logger, error) {
	return logger.New(logger.Options{
		Level: cfg.Log.Level, Format: cfg.Log.Format, Out: out, Service: "identity-" + string(role), Version: version(),
	})
}
