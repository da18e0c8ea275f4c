package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/pkg/database"
)

// newDatabase answers a migrated database that belongs to one row alone, its name, and the function that drops it.
func newDatabase(ctx context.Context, s settings) (db *database.DB, name string, remove func(), err error) {
	own := s.stack.Postgres
	admin, err := openDatabase(own, 1)
	if err != nil {
		return nil, "", nil, err
	}
	name = "bench_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	if _, err := admin.Conn(ctx).ExecContext(context.WithoutCancel(ctx), "CREATE DATABASE "+name); err != nil {
		return nil, "", nil, errors.Join(err, admin.Close())
	}
	remove = func() {
		var errs []error
		if db != nil {
			errs = append(errs, db.Close())
		}
		ctx := context.WithoutCancel(ctx)
		_, err := admin.Conn(ctx).ExecContext(ctx, "DROP DATABASE "+name+" WITH (FORCE)")
		if err := errors.Join(append(errs, err, admin.Close())...); err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", err)
		}
	}
	own.Database = name
	if db, err = openDatabase(own, 0); err == nil {
		_, err = schema.Up(ctx, db)
	}
	if err != nil {
		remove()
		return nil, "", nil, err
	}
	return db, name, remove, nil
}

func openDatabase(c config.Postgres, maxConns int) (*database.DB, error) {
	return database.Open(database.Options{Dialect: database.Postgres, DSN: c.DSN(), MaxConns: maxConns})
}
