// Package schematest gives every test a migrated database of its own: SQLite, or PostgreSQL when INTEGRATION is set (make
// test-integration). A missing server then fails the test.
package schematest

import (
	"context"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

// PreviousRelease creates the tables of the previous release, which this service has never touched, on PostgreSQL.
//
//go:embed previous_release.sql
var PreviousRelease string

// TxTimeout is short: on SQLite a statement that bypasses the transaction of its context waits for itself, and must
// fail soon.
const TxTimeout = 2 * time.Second

// Each runs test on an empty, migrated database: make test on SQLite, make test-integration on PostgreSQL.
func Each(t *testing.T, test func(t *testing.T, db *database.DB)) {
	t.Helper()
	if os.Getenv("INTEGRATION") == "" {
		t.Run("sqlite", func(t *testing.T) { test(t, SQLite(t)) })
		return
	}
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// OnPostgres runs a test that needs PostgreSQL, when INTEGRATION is set. url is that of an empty database.
func OnPostgres(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()
	if os.Getenv("INTEGRATION") != "" {
		t.Run("postgres", func(t *testing.T) { test(t, EmptyPostgres(t)) })
	}
}

// SQLite returns a migrated database in a temporary file.
func SQLite(t testing.TB) *database.DB {
	t.Helper()
	return open(t, database.Options{
		Dialect: database.SQLite, DSN: filepath.Join(t.TempDir(), "identity.db"), TxTimeout: TxTimeout,
	})
}

// Postgres returns a migrated database, created for this test on the server that POSTGRES_* names, a pooler included.
func Postgres(t testing.TB) *database.DB {
	t.Helper()
	return open(t, database.Options{
		Dialect:   database.Postgres,
		DSN:       EmptyPostgres(t),
		TxTimeout: 10 * time.Second,
		ExecMode:  database.ExecMode(os.Getenv("POSTGRES_EXEC_MODE")),
	})
}

// EmptyPostgres creates an empty database for this test and returns its URL.
func EmptyPostgres(t testing.TB) string {
	t.Helper()
	require.NotEmpty(t, os.Getenv("POSTGRES_HOST"), "INTEGRATION is set but POSTGRES_HOST is not; run make test-integration")
	admin := url.URL{
		Scheme: "postgres", User: url.UserPassword(os.Getenv("POSTGRES_USER"), os.Getenv("POSTGRES_PASSWORD")),
		Host: os.Getenv("POSTGRES_HOST") + ":" + os.Getenv("POSTGRES_PORT"), Path: "/" + os.Getenv("POSTGRES_DB"),
		RawQuery: "sslmode=disable",
	}
	server, err := database.Open(database.Options{Dialect: database.Postgres, DSN: admin.String(), MaxConns: 1})
	require.NoError(t, err)
	name := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	_, err = server.Conn(context.Background()).ExecContext(context.Background(), "CREATE DATABASE "+name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := server.Conn(context.Background()).ExecContext(context.Background(),
			fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", name))
		require.NoError(t, err)
		require.NoError(t, server.Close())
	})
	admin.Path = "/" + name
	return admin.String()
}

func open(t testing.TB, o database.Options) *database.DB {
	t.Helper()
	db, err := database.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = schema.Up(context.Background(), db)
	require.NoError(t, err)
	return db
}
