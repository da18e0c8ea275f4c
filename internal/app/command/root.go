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
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/pkg/database"
	"github.com/smap-platform/identity/pkg/logger"
	"github.com/smap-platform/identity/pkg/redis"
	"github.com/smap-platform/identity/pkg/terminal"
)

// Version is set by the linker (-X); a build without it names its commit.
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
	redis.RouteLogs(zerolog.Nop()) // a process that serves logs them; of a command the result says what is wrong
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, root.Name()+":", terminal.EscapeLines(err.Error()))
		return 1
	}
	return 0
}

// newRoot returns the root command of the binary named like role. It serves what start returns when no subcommand is
// named; the logs of that go to logs.
func newRoot(
	role config.Role, short, serveShort string, logs stream, start func(invocation) (*app.App, error),
) *cobra.Command {
	serve := &cobra.Command{
		Use: "serve", Short: serveShort + " (the default)", Args: cobra.NoArgs,
		RunE: configured(role, logs, func(i invocation) error {
			a, err := start(i)
			if err != nil {
				return err
			}
			return a.Run(i.Context())
		}),
	}
	root := &cobra.Command{
		Use: string(role), Short: short, Version: version(), Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true, RunE: serve.RunE,
	}
	root.AddCommand(serve)
	return root
}

// invocation is one run of a command, with the configuration of its role.
type invocation struct {
	*cobra.Command
	args []string
	cfg  config.Config
	log  zerolog.Logger
}

// print writes one formatted line to standard output.
func (i invocation) print(format string, args ...any) {
	fmt.Fprintf(i.OutOrStdout(), format+"\n", args...)
}

// stream is where a command writes.
type stream func(*cobra.Command) io.Writer

var (
	stdout stream = (*cobra.Command).OutOrStdout
	stderr stream = (*cobra.Command).ErrOrStderr
)

// runFunc is what cobra runs.
type runFunc = func(cmd *cobra.Command, args []string) error

// configured makes a command that needs the configuration of role. Its logs go to logs.
func configured(role config.Role, logs stream, run func(invocation) error) runFunc {
	return func(cmd *cobra.Command, args []string) error {
		cfg, err := config.Load(role)
		if err != nil {
			return err
		}
		log, err := logger.New(logger.Options{
			Level:   cfg.Log.Level,
			Format:  cfg.Log.Format,
			Out:     logs(cmd),
			Service: "identity-" + string(role),
			Version: version(),
		})
		if err != nil {
			return err
		}
		return run(invocation{cmd, args, cfg, log})
	}
}

// onDatabase makes a command that needs the database of role as well: a server's, or the standalone's file, whether the
// standalone runs or not. Its logs go to stderr.
func onDatabase(role config.Role, run func(i invocation, db *database.DB) error) runFunc {
	return configured(role, stderr, func(i invocation) error {
		return app.WithDatabase(i.Context(), role, i.cfg, i.log, func(db *database.DB) error { return run(i, db) })
	})
}
