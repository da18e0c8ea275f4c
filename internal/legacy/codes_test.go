package legacy

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/database"
)

// legacyStores is how a pod of the previous release stores a code made at made.
func (s suite) legacyStores(userID, digits string, made time.Time) {
	s.Helper()
	s.exec("UPDATE users SET otp = $2, otp_expired_at = $3, updated_at = $4 WHERE id = $1", userID, digits, made.Add(24*time.Hour), made)
}

// legacyReads is how it reads one.
func (s suite) legacyReads(email string) (digits sql.NullString, expires sql.NullTime) {
	s.Helper()
	row := s.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT otp, otp_expired_at FROM users WHERE username = $1 AND deleted_at IS NULL", email)
	require.NoError(s, row.Scan(&digits, &expires))
	return digits, expires
}

func TestLegacyCodeIsReadAsThePreviousReleaseStoresIt(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		u, other := s.createUser("an@example.com"), s.createUser("binh@example.com")
		s.legacyStores(u.ID, "012345", now.Add(400*time.Nanosecond))
		s.legacyStores(other.ID, "999999", now)
		s.bothWays(func(ctx context.Context) {
			got, err := s.legacy.Find(ctx, u.ID)
			require.NoError(s, err)
			require.Equal(s, authentication.LegacyCode{Digits: "012345", CreatedAt: now}, got)

			// Adopted, stored and read again, it is exactly as old.
			adopted := authentication.CodeKey("key").Adopt(got, purpose, u.ID)
			require.NoError(s, s.db.WithinTx(ctx, func(ctx context.Context) error { return s.codes.Save(ctx, adopted) }))
			stored, err := s.codes.Find(ctx, u.ID, purpose)
			require.NoError(s, err)
			require.Equal(s, adopted, stored)
			require.False(s, got.Replaces(stored, now))
		})
	})
}

func TestLegacyCodeNotFound(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		none, empty, timeless, gone := s.createUser("1@example.com"), s.createUser("2@example.com"),
			s.createUser("3@example.com"), s.createUser("4@example.com")
		s.legacyStores(empty.ID, "", now)
		s.exec("UPDATE users SET otp = '123456' WHERE id = $1", timeless.ID)
		s.legacyStores(gone.ID, "123456", now)
		s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		s.bothWays(func(ctx context.Context) {
			for _, id := range []string{none.ID, empty.ID, timeless.ID, gone.ID, uuid.NewString(), uuid.Nil.String(), "no uuid", ""} {
				_, err := s.legacy.Find(ctx, id)
				require.ErrorIs(s, err, authentication.ErrCodeNotFound)
			}
		})
	})
}

func TestLegacyCodeIsStoredWhereThePreviousReleaseLooks(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		u, other := s.createUser("an@example.com"), s.createUser("binh@example.com")
		expires := now.Add(authentication.CodeLifetime)
		for _, digits := range []string{"012345", "654321"} { // the second in place of the first
			require.NoError(s, s.within(func(ctx context.Context) error { return s.legacy.Save(ctx, u.ID, digits, expires) }))
			gotDigits, gotExpires := s.legacyReads(u.Email)
			require.Equal(s, digits, gotDigits.String)
			require.True(s, expires.Equal(gotExpires.Time))
		}
		got, err := s.legacy.Find(context.Background(), u.ID)
		require.NoError(s, err)
		require.False(s, got.Replaces(authentication.Code{}, now), "one of ours is never taken for one of theirs")

		digits, _ := s.legacyReads(other.Email)
		require.False(s, digits.Valid, "another user's code is untouched")
		read, err := s.users.ByID(context.Background(), u.ID)
		require.NoError(s, err)
		require.Equal(s, u, read)
	})
}

func TestLegacyCodeIsOnlySavedInATransactionAndForAUser(t *testing.T) {
	t.Parallel()
	each(t, func(s suite) {
		u, gone := s.createUser("an@example.com"), s.createUser("gone@example.com")
		s.exec("UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, now)
		require.ErrorIs(s, s.legacy.Save(context.Background(), u.ID, "123456", now), database.ErrNoTx)
		for _, id := range []string{gone.ID, uuid.NewString(), "no uuid"} {
			err := s.within(func(ctx context.Context) error { return s.legacy.Save(ctx, id, "123456", now) })
			require.ErrorIs(s, err, authentication.ErrUserNotFound)
		}
		require.False(s, s.column("otp", u.ID).Valid)
		require.False(s, s.column("otp", gone.ID).Valid)
	})
}
