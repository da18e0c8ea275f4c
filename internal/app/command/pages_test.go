package command

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app"
	subscriptions "github.com/smap-platform/identity/internal/subscription/usecase"
	"github.com/smap-platform/identity/pkg/database"
)

// What the pages show of the commands.
func TestPages(t *testing.T) {
	t.Parallel()
	t.Run("api migrate status with rows in the way", func(t *testing.T) {
		t.Parallel()
		db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "identity.db")})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		_, err = db.Conn(t.Context()).ExecContext(t.Context(), `
			CREATE TABLE users (id text, username text, is_active boolean, created_at timestamp, deleted_at timestamp);
			INSERT INTO users VALUES
				('85127bca-b50f-4bdf-9851-54dccc947b2d', 'an@example.com', true, '2025-03-02 10:00:00', NULL),
				('58b54f1b-8069-4f18-aadd-aeb10cdab510', 'An@example.com', false, '2025-07-19 08:30:00', NULL)`)
		require.NoError(t, err)
		out, cmd := output(t)
		err = migrateStatus(cmd, db, nil)
		require.Error(t, err)
		doctest.Equal(t, "migrate-status", "$ api migrate status\n"+out.String()+"api: "+err.Error()+"\n")
	})
	t.Run("consumer state rebuild", func(t *testing.T) {
		t.Parallel()
		out, _ := output(t)
		printRebuilt(out, app.Rebuilt{
			States: subscriptions.Rebuilt{Read: 48210, Written: 48210},
		})
		doctest.Equal(t, "state-rebuild", "$ consumer state rebuild\n"+out.String())
	})
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	t.Run("the help names every queue", func(t *testing.T) {
		t.Parallel()
		for _, q := range app.Queues(config.Config{Events: config.Events{Phase: "complete"}}) {
			require.Contains(t, deadLetters().Long, q.Name)
		}
	})
}

// output returns a command and the buffer it prints to.
func output(t *testing.T) (*bytes.Buffer, *cobra.Command) {
	out := &bytes.Buffer{}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetOut(out)
	return out, cmd
}
