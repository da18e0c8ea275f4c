package command

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/operations"
	"github.com/smap-platform/identity/internal/status"
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
			CREATE TABLE users (id text, username text, password_hash text, is_active boolean, role_hash text, created_at timestamp,
				updated_at timestamp, deleted_at timestamp);
			INSERT INTO users VALUES
				('85127bca-b50f-4bdf-9851-54dccc947b2d', 'an@example.com', '$2a$', true, 'Qo/0', '2025-03-02 10:00:00', '2025-03-02 10:00:00', NULL),
				('58b54f1b-8069-4f18-aadd-aeb10cdab510', 'An@example.com', '$2a$', false, 'Qo/0', '2025-07-19 08:30:00', '2025-07-19 08:30:00', NULL),
				('b7a1d0b4-5f0e-4b3a-9d26-5d1c8c1f8f10', 'binh..le@example.com', '$2a$', true, 'Qo/0', NULL, NULL, NULL)`)
		require.NoError(t, err)
		out, cmd := output(t)
		err = migrateStatus(cmd, db)
		require.Error(t, err)
		doctest.Equal(t, "migrate-status", "$ api migrate status\n"+out.String()+"api: "+err.Error()+"\n")
	})
	t.Run("api user show", func(t *testing.T) {
		t.Parallel()
		out, cmd := output(t)
		require.NoError(t, printPerson(cmd.OutOrStdout(), aPerson()))
		doctest.Equal(t, "user-show", "$ api user show an@example.com\n"+out.String())
	})
	t.Run("consumer status", func(t *testing.T) {
		t.Parallel()
		out, cmd := output(t)
		f := aNight()
		require.NoError(t, status.Write(cmd.OutOrStdout(), f, status.Judge(f)))
		doctest.Equal(t, "status", "$ consumer status\n"+out.String()+"consumer: "+status.ErrNotWell.Error()+"\n")
	})
	t.Run("consumer state rebuild", func(t *testing.T) {
		t.Parallel()
		out, cmd := output(t)
		printRebuilt(cmd, app.Rebuilt{
			States: subscriptions.Rebuilt{Read: 48210, Written: 48210},
		})
		doctest.Equal(t, "state-rebuild", "$ consumer state rebuild\n"+out.String())
	})
}

// aNight is one in which the last consumer has died.
func aNight() status.Facts {
	fine := status.Dependency{Status: status.Healthy}
	queue := func(name string, ready, dead int) status.Queue {
		return status.Queue{
			Name: name, Exists: new(true), Ready: &ready, Unacked: new(0), Consumers: new(0), Retry: new(0), Dead: &dead,
		}
	}
	at := time.Date(2026, 1, 31, 3, 10, 0, 0, time.UTC)
	return status.Facts{
		At:        at,
		Roles:     []string{"api", "consumer"},
		Database:  fine,
		RabbitMQ:  fine,
		Redis:     fine,
		Processes: []status.Group{{Role: "api", Version: "v1.4.0", Count: 3, Since: at.Add(-50 * time.Hour)}},
		Queues: []status.Queue{
			queue("identity.email", 41, 0), queue("identity.invitation", 0, 2), queue("identity.subscription", 12, 0),
			queue("identity.project", 0, 0), queue("identity.legacy", 0, 0),
		},
		Outbox:         &status.Outbox{},
		Mails:          &status.Mails{Owed: 41, Oldest: 1260},
		Projects:       &status.Projects{Open: 3, Idle: 95},
		OldestSnapshot: new(0.1),
	}
}

// aPerson has registered; the first code was refused for a while, the second is on its way.
func aPerson() operations.Person {
	at := func(text string) time.Time {
		at, err := time.Parse(time.DateTime, "2026-01-31 "+text)
		if err != nil {
			panic(err)
		}
		return at
	}
	next := at("09:33:10")
	second := operations.PersonMail{
		EventID: "evt_019c12ae-1c38-7000-a6c2-0b6d1f3e9a55", Kind: "verification", State: "sending", AskedAt: at("09:32:10"),
		ChangedAt: at("09:32:40"), NextAt: &next, Attempts: 1, Class: "smtp_rcpt_451",
	}
	first := operations.PersonMail{
		EventID: "evt_019c12ac-8a11-7000-9d0e-64b1c2f0d7e3", Kind: "verification", State: "superseded", AskedAt: at("09:30:00"),
		ChangedAt: at("09:32:11"), Attempts: 2, Class: "",
	}
	return operations.Person{
		Email: "an@example.com",
		User: &operations.PersonUser{
			ID: "019c12ac-89f0-7000-8b57-2f6d6a1c4c10", State: "not verified", Role: "USER", CreatedAt: at("09:30:00"),
		},
		Requests: []operations.PersonRequest{{
			Purpose: "verification", Network: "203.0.113.0/24", CreatedAt: at("09:30:00"), CodeAt: at("09:32:10"),
			ExpiresAt: at("09:42:10"), State: "good", EventID: second.EventID,
		}},
		Mails:   []operations.PersonMail{second, first},
		Waiting: []operations.PersonMail{second},
	}
}

func TestPersonIsEscaped(t *testing.T) {
	t.Parallel()
	p := aPerson()
	p.Sessions = []operations.PersonSession{{Device: "phone\x1b[2J", UserAgent: "a\tb\nc"}}
	out, cmd := output(t)
	require.NoError(t, printPerson(cmd.OutOrStdout(), p))
	require.Contains(t, out.String(), `phone\u001b[2J`)
	require.Contains(t, out.String(), `a\u0009b\u000ac`)
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

// output returns an invocation and the buffer it prints to.
func output(t *testing.T) (*bytes.Buffer, invocation) {
	out := &bytes.Buffer{}
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	cmd.SetOut(out)
	return out, invocation{Command: cmd}
}
