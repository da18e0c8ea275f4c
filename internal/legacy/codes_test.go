package legacy

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/repository/sqldb"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

const (
	purpose  = authentication.PurposeVerification
	email    = "flow@example.com"
	password = "correct horse"
)

var codeKey = authentication.CodeKey("key")

// plaintext is a PasswordHasher that hashes nothing.
type plaintext struct{}

func (plaintext) Hash(_ context.Context, password string) (string, error) { return password, nil }

func (plaintext) Verify(_ context.Context, hash, password string) (ok, outdated bool, err error) {
	return hash == password, false, nil
}

type tokens struct{}

func (tokens) Issue(authentication.User, bool) (authentication.Token, error) {
	return authentication.Token{Value: "token"}, nil
}

func (tokens) Check(string) (authentication.Claims, error) {
	return authentication.Claims{}, authentication.ErrUnauthenticated
}

// trials counts.
type trials struct{ started int }

func (t *trials) StartTrial(context.Context, string, string) error {
	t.started++
	return nil
}

// flow is the use cases on the real repositories, decorated as in a process of some phase.
type flow struct {
	*desk
	*usecase.UseCase
	users  *sqldb.Users
	ours   *sqldb.Codes
	codes  *Codes
	trials *trials
}

func eachFlow(t *testing.T, phase Phase, test func(f flow)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		d := newDesk(t, db)
		d.clock.now = start.Truncate(time.Microsecond)
		f := flow{desk: d, users: sqldb.NewUsers(db), ours: sqldb.NewCodes(db), trials: &trials{}}
		f.codes = NewCodes(CodesDeps{CodeRepository: f.ours, DB: db, Clock: d.clock, Key: codeKey})
		f.UseCase = usecase.New(usecase.Deps{
			Tx: db, Users: f.users, Codes: f.codes, Passwords: plaintext{}, Tokens: tokens{}, Trials: f.trials,
			Events: d.publisher(phase), Clock: d.clock, CodeKey: codeKey,
		})
		test(f)
	})
}

// pending is a user who registered on a pod of the previous release.
func (f flow) pending(address string) authentication.User {
	f.Helper()
	u := authentication.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: address, PasswordHash: password, Role: authentication.RoleUser,
		CreatedAt: start, UpdatedAt: start,
	}
	require.NoError(f, f.users.Create(context.Background(), u))
	return u
}

// oldStores is how a pod of the previous release stores a code made at made.
func (f flow) oldStores(userID, digits string, made time.Time) {
	f.Helper()
	exec(f.T, f.db, "UPDATE users SET otp = $2, otp_expired_at = $3, updated_at = $4 WHERE id = $1",
		userID, digits, made.Add(24*time.Hour), made)
}

// oldReads is how it reads one.
func (f flow) oldReads(address string) (digits sql.NullString, expires sql.NullTime) {
	f.Helper()
	row := f.db.Conn(context.Background()).QueryRowContext(context.Background(),
		"SELECT otp, otp_expired_at FROM users WHERE username = $1 AND deleted_at IS NULL", address)
	require.NoError(f, row.Scan(&digits, &expires))
	return digits, expires
}

func (f flow) verify(digits string) error {
	_, err := f.Verify(context.Background(), email, digits)
	return err
}

func (f flow) sendCode() {
	f.Helper()
	c := authentication.Credentials{Email: email, Password: password}
	require.NoError(f, f.SendCode(context.Background(), c, "en"))
}

// mailed returns the digits of the n-th mail of ours, counted from 1.
func (f flow) mailed(n int) string {
	f.Helper()
	events := f.topic.Events()
	require.Len(f, events, n)
	return events[n-1].Data.(event.VerificationRequested).OTPCode
}

func (f flow) find(userID string) (authentication.Code, error) {
	f.Helper()
	return f.codes.Find(context.Background(), userID, purpose)
}

// other returns digits that are not these.
func other(digits string) string {
	if digits == "111111" {
		return "222222"
	}
	return "111111"
}

func TestCodes(t *testing.T) {
	t.Parallel()
	t.Run("a code of the previous release is found as one of ours, exactly as old each time", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			made := f.clock.Now()
			f.oldStores(u.ID, "012345", made.Add(400*time.Nanosecond))
			f.oldStores(f.pending("other@example.com").ID, "999999", made)
			want := authentication.Code{
				UserID: u.ID, Purpose: purpose, Digest: codeKey.Digest(purpose, u.ID, "012345"),
				CreatedAt: made, ExpiresAt: made.Add(authentication.CodeLifetime),
			}
			got, err := f.find(u.ID)
			require.NoError(f, err)
			require.Equal(f, want, got)
			require.False(f, got.Current("evt_1"), "no mail of ours carries it")

			// Stored as ours and tried wrongly, it is not found anew.
			require.ErrorIs(f, got.Try([]byte("wrong"), made), authentication.ErrWrongCode)
			require.NoError(f, f.db.WithinTx(context.Background(), func(ctx context.Context) error { return f.codes.Save(ctx, got) }))
			again, err := f.find(u.ID)
			require.NoError(f, err)
			require.Equal(f, 1, again.WrongTries)
		})
	})

	t.Run("without one it finds what there is of ours", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			none, empty, timeless, gone, active := f.pending("1@example.com"), f.pending("2@example.com"),
				f.pending("3@example.com"), f.pending("4@example.com"), f.pending("5@example.com")
			f.oldStores(empty.ID, "", start)
			exec(t, f.db, "UPDATE users SET otp = '123456' WHERE id = $1", timeless.ID)
			f.oldStores(gone.ID, "123456", start)
			exec(t, f.db, "UPDATE users SET deleted_at = $2 WHERE id = $1", gone.ID, start)
			f.oldStores(active.ID, "123456", start)
			exec(t, f.db, "UPDATE users SET is_active = true WHERE id = $1", active.ID)
			for _, id := range []string{
				none.ID, empty.ID, timeless.ID, gone.ID, active.ID, uuid.NewString(), uuid.Nil.String(), "no uuid", "",
			} {
				require.NoError(f, f.db.WithinTx(context.Background(), func(ctx context.Context) error {
					_, err := f.codes.Find(ctx, id, purpose)
					require.ErrorIs(f, err, authentication.ErrCodeNotFound)
					return nil
				}))
			}
			f.oldStores(none.ID, "123456", start)
			_, err := f.codes.Find(context.Background(), none.ID, "another purpose")
			require.ErrorIs(f, err, authentication.ErrCodeNotFound)
		})
	})

	t.Run("a repository that fails is an error", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			broken := errors.New("the database is on fire")
			_, err := NewCodes(CodesDeps{CodeRepository: brokenCodes{f.ours, broken}, DB: f.db, Clock: f.clock, Key: codeKey}).
				Find(context.Background(), uuid.NewString(), purpose)
			require.ErrorIs(f, err, broken)

			u := f.pending(email)
			f.sendCode()
			exec(t, f.db, "ALTER TABLE users RENAME COLUMN otp TO gone")
			_, err = f.find(u.ID)
			require.ErrorContains(f, err, "reading a code of the previous release")
			require.ErrorContains(f, f.verify("123456"), "reading a code of the previous release")
			code, err := f.ours.Find(context.Background(), u.ID, purpose)
			require.NoError(f, err)
			require.Zero(f, code.WrongTries, "rolled back")
		})
	})

	t.Run("a code is accepted once", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			f.clock.advance(9 * time.Minute)
			require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
			require.NoError(f, f.verify("012345"))
			verified, err := f.users.ByID(context.Background(), u.ID)
			require.NoError(f, err)
			require.True(f, verified.Active)
			require.Equal(f, 1, f.trials.started)

			require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode, "a second time")
			exec(t, f.db, "UPDATE users SET is_active = false WHERE id = $1", u.ID)
			require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode, "even if the user were pending again")
			require.Equal(f, 1, f.trials.started)
		})
	})

	t.Run("a code dies after five wrong tries", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			for range authentication.MaxWrongTries {
				require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
				f.sendCode() // within the minute: nothing happens, and nothing is forgotten
				f.clock.advance(time.Second)
			}
			require.Empty(f, f.topic.Events())
			for range 3 {
				require.ErrorIs(f, f.verify("012345"), authentication.ErrTooManyTries)
			}
			f.oldStores(u.ID, "543210", f.clock.Now()) // a new one, asked for with the password
			require.NoError(f, f.verify("543210"))
		})
	})

	t.Run("the newer code wins", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			f.sendCode()
			first := f.mailed(1)
			theirs := other(first)
			f.oldStores(u.ID, theirs, start.Add(2*time.Minute))
			f.clock.advance(3 * time.Minute)
			require.ErrorIs(f, f.verify(first), authentication.ErrWrongCode, "theirs is newer")

			f.clock.advance(time.Minute)
			f.sendCode()
			second := f.mailed(2)
			if theirs != second {
				require.ErrorIs(f, f.verify(theirs), authentication.ErrWrongCode, "ours is newer")
			}
			require.NoError(f, f.verify(second))
		})
	})

	t.Run("a code is too old after ten minutes", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			f.clock.advance(11 * time.Minute)
			require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode)
			_, err := f.ours.Find(context.Background(), u.ID, purpose)
			require.ErrorIs(f, err, authentication.ErrCodeNotFound)
		})
	})

	// One that was tried in time is one of ours, and says what is the matter.
	t.Run("a code that was tried expires like one of ours", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Complete, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
			f.clock.advance(11 * time.Minute)
			require.ErrorIs(f, f.verify("012345"), authentication.ErrCodeExpired)
		})
	})

	t.Run("another code waits for one of the previous release too", func(t *testing.T) {
		t.Parallel()
		for name, tc := range map[string]struct {
			age   time.Duration
			sends int
		}{
			"a second too soon":          {age: 59 * time.Second},
			"from a clock that is ahead": {age: -time.Minute},
			"a minute old":               {age: time.Minute, sends: 1},
			"too old to be looked at":    {age: time.Hour, sends: 1},
			"put there by us":            {age: 24*time.Hour - authentication.CodeLifetime, sends: 1},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				eachFlow(t, Complete, func(f flow) {
					f.oldStores(f.pending(email).ID, "012345", start.Add(-tc.age))
					f.sendCode()
					require.Len(f, f.topic.Events(), tc.sends)
				})
			})
		}
	})

	t.Run("in prepare codes work on pods of both releases", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			require.NoError(f, f.Register(context.Background(), authentication.Credentials{Email: email, Password: password}, "en"))
			digits, expires := f.oldReads(email)
			require.Regexp(f, `^\d{6}$`, digits.String)
			require.True(f, f.clock.Now().Add(authentication.CodeLifetime).Equal(expires.Time))

			// Ours stays ours: its tries are counted where they were, and a new code replaces it there as well.
			require.ErrorIs(f, f.verify(other(digits.String)), authentication.ErrWrongCode)
			u, err := f.users.ByEmail(context.Background(), email)
			require.NoError(f, err)
			code, err := f.ours.Find(context.Background(), u.ID, purpose)
			require.NoError(f, err)
			require.Equal(f, f.copies()[0].ID, code.EventID)
			require.Equal(f, 1, code.WrongTries)

			f.clock.advance(time.Minute)
			f.sendCode()
			digits, expires = f.oldReads(email)
			require.True(f, f.clock.Now().Add(authentication.CodeLifetime).Equal(expires.Time))
			require.NoError(f, f.verify(digits.String))
		})
	})

	t.Run("later the previous release's columns stay as they are", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Dual, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start.Add(-time.Hour))
			f.sendCode()
			require.NoError(f, f.verify(f.mailed(1)))
			digits, expires := f.oldReads(email)
			require.Equal(f, "012345", digits.String)
			require.True(f, start.Add(23*time.Hour).Truncate(time.Microsecond).Equal(expires.Time))
		})
	})
}

// brokenCodes is a repository whose Find fails.
type brokenCodes struct {
	authentication.CodeRepository
	err error
}

func (r brokenCodes) Find(context.Context, string, authentication.Purpose) (authentication.Code, error) {
	return authentication.Code{}, r.err
}

func TestReplaces(t *testing.T) {
	t.Parallel()
	const longAgo = 365 * 24 * time.Hour
	for name, tc := range map[string]struct {
		age     time.Duration // of the previous release's code
		newest  time.Duration // age of the newest of ours
		missing bool          // there is none of ours
		want    bool
	}{
		"the only one":                           {age: time.Minute, missing: true, want: true},
		"just made":                              {age: 0, missing: true, want: true},
		"ten minutes old":                        {age: 10 * time.Minute, missing: true, want: true},
		"a microsecond older":                    {age: 10*time.Minute + time.Microsecond, missing: true},
		"a day old, as one of ours put there is": {age: 24*time.Hour - authentication.CodeLifetime, missing: true},
		"from a clock a minute ahead":            {age: -time.Minute, missing: true, want: true},
		"from the future":                        {age: -time.Minute - time.Microsecond, missing: true},
		"newer than ours":                        {age: time.Minute, newest: time.Minute + time.Microsecond, want: true},
		"much newer than ours":                   {age: time.Minute, newest: longAgo, want: true},
		"as old as ours: it was adopted":         {age: time.Minute, newest: time.Minute},
		"older than ours":                        {age: time.Minute + time.Microsecond, newest: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var newest authentication.Code
			if !tc.missing {
				newest.CreatedAt = start.Add(-tc.newest)
			}
			require.Equal(t, tc.want, replaces(oldCode{"123456", start.Add(-tc.age)}, newest, start))
			require.False(t, replaces(oldCode{createdAt: start.Add(-tc.age)}, newest, start), "without digits there is none")
		})
	}
}
