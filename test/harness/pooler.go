package harness

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const poolerConfig = `[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = 4
`

// NewPooler starts PgBouncer in transaction mode before the stack's PostgreSQL, for this test, and returns the
// environment of a process that connects through it. make stack-up installs it on Debian.
func NewPooler(tb testing.TB) (env []string) {
	tb.Helper()
	require.NoError(tb, checkEnvironment())
	binary := "/usr/sbin/pgbouncer"
	if _, err := os.Stat(binary); err != nil {
		binary, err = exec.LookPath("pgbouncer")
		require.NoError(tb, err, "install PgBouncer 1.18 or newer; make stack-up does it on Debian")
	}
	port := freePort(tb, "127.0.0.1")
	dir := tb.TempDir()
	users, config := filepath.Join(dir, "users"), filepath.Join(dir, "pgbouncer.ini")
	quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	for path, content := range map[string]string{
		users: quote(os.Getenv("POSTGRES_USER")) + " " + quote(os.Getenv("POSTGRES_PASSWORD")) + "\n",
		config: fmt.Sprintf(poolerConfig,
			os.Getenv("POSTGRES_HOST"), cmp.Or(os.Getenv("POSTGRES_PORT"), "5432"), port, users),
	} {
		require.NoError(tb, os.WriteFile(path, []byte(content), 0o600))
	}

	var args []string
	if os.Getuid() == 0 { // it refuses to run as root
		args = []string{"-u", "nobody"}
		for path, mode := range map[string]os.FileMode{users: 0o644, config: 0o644, dir: 0o755, filepath.Dir(dir): 0o755} {
			require.NoError(tb, os.Chmod(path, mode))
		}
	}
	log := newLog()
	command := exec.Command(binary, append(args, config)...) //nolint:gosec // G204: a server of the stack
	command.Stdout, command.Stderr = log, log
	require.NoError(tb, command.Start())
	tb.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if lines := log.Lines(0); tb.Failed() {
			tb.Logf("the last lines of PgBouncer:\n  %s", strings.Join(lines[max(0, len(lines)-shownLines):], "\n  "))
		}
	})
	Soon(tb, func() error { return listens("127.0.0.1:" + port) })
	return []string{"POSTGRES_HOST=127.0.0.1", "POSTGRES_PORT=" + port}
}
