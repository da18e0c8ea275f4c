package database_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/smap-platform/identity/pkg/database"
)

// Two repositories share one transaction without knowing of each other: both start at Conn.
func ExampleDB_WithinTx() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	db, err := database.Open(database.Options{Dialect: database.SQLite, DSN: filepath.Join(dir, "example.db")})
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close() }()
	exec := func(ctx context.Context, query string) error {
		_, err := db.Conn(ctx).ExecContext(ctx, query)
		return err
	}
	ctx := context.Background()
	if err := exec(ctx, "CREATE TABLE users (name text)"); err != nil {
		panic(err)
	}

	err = db.WithinTx(ctx, func(ctx context.Context) error {
		if err := exec(ctx, "INSERT INTO users VALUES ('an')"); err != nil {
			return err
		}
		return errors.New("the second step failed")
	})
	var users int
	if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM users").Scan(&users); err != nil {
		panic(err)
	}
	fmt.Println(err, "–", users, "users")
	// Output: the second step failed – 0 users
}
