package sqldb_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

var (
	_ authentication.UserRepository         = (*sqldb.Users)(nil)
	_ authentication.UserDirectory          = (*sqldb.Users)(nil)
	_ authentication.AdministeredRepository = (*sqldb.Users)(nil)
	_ authentication.InvitedRepository      = (*sqldb.Users)(nil)
	_ authentication.CodeRequestRepository  = (*sqldb.CodeRequests)(nil)
	_ authentication.SessionRepository      = (*sqldb.Sessions)(nil)
	_ authentication.LimitRepository        = (*sqldb.Limits)(nil)
	_ authentication.NoticeRepository       = (*sqldb.Notices)(nil)
	_ authentication.ErasureRepository      = (*sqldb.Erasure)(nil)
)

const purpose = authentication.PurposeVerification

var now = time.Date(2026, 1, 31, 9, 30, 0, 123456000, time.UTC)

type suite struct {
	*testing.T
	db       *database.DB
	users    *sqldb.Users
	requests *sqldb.CodeRequests
	limits   *sqldb.Limits
	sessions *sqldb.Sessions
}

// each runs test on every engine.
func each(t *testing.T, test func(s suite)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		test(suite{t, db, sqldb.NewUsers(db), sqldb.NewCodeRequests(db), sqldb.NewLimits(db), sqldb.NewSessions(db)})
	})
}

// within runs fn in a transaction. On SQLite a statement that went around it would wait for itself and fail.
func (s suite) within(fn func(ctx context.Context) error) error {
	s.Helper()
	return s.db.WithinTx(context.Background(), fn)
}

// bothWays runs fn without a transaction and in one.
func (s suite) bothWays(fn func(ctx context.Context)) {
	s.Helper()
	fn(context.Background())
	require.NoError(s, s.within(func(ctx context.Context) error {
		fn(ctx)
		return nil
	}))
}

func (s suite) exec(query string, args ...any) {
	s.Helper()
	_, err := s.db.Conn(context.Background()).ExecContext(context.Background(), query, args...)
	require.NoError(s, err)
}

// column reads one column of a user's row as it is stored.
func (s suite) column(name, userID string) (value sql.NullString) {
	s.Helper()
	row := s.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT "+name+" FROM users WHERE id = $1", userID)
	require.NoError(s, row.Scan(&value))
	return value
}

func newUser(email string) authentication.User {
	return authentication.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: email, FullName: "Nguyễn An", PasswordHash: "hash",
		Role: authentication.RoleAdmin, Active: true, CreatedAt: now, UpdatedAt: now.Add(time.Minute),
	}
}

func (s suite) createUser(email string) authentication.User {
	s.Helper()
	u := newUser(email)
	require.NoError(s, s.users.Create(context.Background(), u))
	return u
}

func newRequest(email string) authentication.CodeRequest {
	id := uuid.Must(uuid.NewV7()).String()
	return authentication.CodeRequest{
		ID: id, Purpose: purpose, Email: email, UserID: uuid.NewString(), Locale: "vi", Network: "203.0.113.0/24",
		PasswordHash: "pending", PasswordTag: 65535, CreatedAt: now,
		Code: authentication.Code{
			Digest: []byte{0, 1, 0xff}, EventID: "evt_" + id, CreatedAt: now, ExpiresAt: now.Add(authentication.CodeLifetime),
		},
	}
}
