package legacy

import (
	"context"
	"database/sql"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/audit/audittest"
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

func (tokens) Issue(authentication.User, string, time.Time, time.Time) (string, error) {
	return "token", nil
}

func (tokens) Check(string) (authentication.Claims, error) {
	return authentication.Claims{}, authentication.ErrUnauthenticated
}

func (tokens) CheckExpired(string) (authentication.Claims, error) {
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
	ours   *sqldb.CodeRequests
	trials *trials
	client authentication.Client
}

// noGuard limits nothing.
type noGuard struct{ authentication.Guard }

func (noGuard) Login(context.Context, string, authentication.Client) error       { return nil }
func (noGuard) LoginUndone(context.Context, string, authentication.Client) error { return nil }
func (noGuard) LoginSucceeded(context.Context, string, authentication.Client) error {
	return nil
}
func (noGuard) CodeFailed(context.Context, string) error                   { return nil }
func (noGuard) CodeSucceeded(context.Context, string) error                { return nil }
func (noGuard) Known(context.Context, string, ...string) ([]string, error) { return nil, nil }

func (noGuard) MaySend(context.Context, string, authentication.Client, authentication.SendKind) error {
	return nil
}

func (noGuard) Send(context.Context, string, authentication.Client, authentication.SendKind) error {
	return nil
}

func eachFlow(t *testing.T, phase Phase, test func(f flow)) {
	t.Helper()
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		d := newDesk(t, db)
		d.clock.now = start.Truncate(time.Microsecond)
		f := flow{desk: d, users: sqldb.NewUsers(db), ours: sqldb.NewCodeRequests(db), trials: &trials{}}
		var requests authentication.CodeRequestRepository = f.ours
		if phase.Mixed() {
			requests = NewRequests(RequestsDeps{CodeRequestRepository: f.ours, DB: db, Clock: d.clock, Keys: authentication.CodeKeys{codeKey}})
		}
		f.client = authentication.Client{Browsers: []string{authentication.NewBrowser()}, Locale: "en"}
		f.UseCase = usecase.New(usecase.Deps{
			Audit: &audittest.Recorder{},
			Tx:    db, Users: f.users, Requests: requests, Guard: noGuard{}, Passwords: plaintext{}, Tokens: tokens{}, Sessions: sqldb.NewSessions(db),
			Trials: f.trials, Events: d.publisher(phase), Clock: d.clock, CodeKeys: authentication.CodeKeys{codeKey},
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
	_, err := f.Verify(context.Background(), email, digits, f.client)
	return err
}

// elsewhere is f in another browser.
func (f flow) elsewhere() flow {
	f.client = authentication.Client{Locale: "en"}
	return f
}

var credentials = authentication.Credentials{Email: email, Password: password}

func (f flow) register(password string) {
	f.Helper()
	_, err := f.Register(context.Background(), authentication.Credentials{Email: email, Password: password}, f.client)
	require.NoError(f, err)
}

func (f flow) sendCode() {
	f.Helper()
	_, err := f.SendCode(context.Background(), credentials, f.client)
	require.NoError(f, err)
}

// requests are those of our table, the newest first.
func (f flow) requests() (stored []authentication.CodeRequest) {
	f.Helper()
	require.NoError(f, f.db.WithinTx(context.Background(), func(ctx context.Context) (err error) {
		stored, err = f.ours.OfAddress(ctx, email, purpose)
		return err
	}))
	return stored
}

// other returns digits that are not these.
func other(digits string) string {
	if digits == "111111" {
		return "222222"
	}
	return "111111"
}

func TestRequests(t *testing.T) {
	t.Parallel()
	t.Run("in prepare a code of the previous release proves an address, once, from any browser", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			f.clock.advance(9 * time.Minute)
			require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
			require.Equal(f, 1, f.requests()[0].Code.WrongTries, "it is one of ours from then on")
			require.NoError(f, f.elsewhere().verify("012345"))
			verified, err := f.users.ByID(context.Background(), u.ID)
			require.NoError(f, err)
			require.True(f, verified.Active)
			require.Equal(f, password, verified.PasswordHash, "the one that was set there")
			require.Equal(f, 1, f.trials.started)
			require.ErrorIs(f, f.verify("012345"), authentication.ErrAlreadyVerified, "a second time")
			require.Equal(f, 1, f.trials.started)
		})
	})

	t.Run("in prepare such a code dies after five wrong tries, and expires", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			for range authentication.MaxWrongTries {
				require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
			}
			require.ErrorIs(f, f.verify("012345"), authentication.ErrTooManyTries)
			f.oldStores(u.ID, "543210", f.clock.Now().Add(time.Second)) // a new one, asked for with the password
			f.clock.advance(11 * time.Minute)
			require.ErrorIs(f, f.verify("543210"), authentication.ErrTooManyTries, "too old to be taken over")
		})
	})

	t.Run("in prepare users without such a code, or with one that is of no use, are as elsewhere", func(t *testing.T) {
		t.Parallel()
		for name, change := range map[string]string{
			"no code":        "UPDATE users SET otp = NULL",
			"an empty one":   "UPDATE users SET otp = ''",
			"no time":        "UPDATE users SET otp_expired_at = NULL",
			"a deleted user": "UPDATE users SET deleted_at = created_at",
			"an active user": "UPDATE users SET is_active = true",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				eachFlow(t, Prepare, func(f flow) {
					f.oldStores(f.pending(email).ID, "123456", start)
					exec(t, f.db, change)
					require.ErrorIs(f, f.verify("123456"), authentication.ErrOtherBrowser)
				})
			})
		}
	})

	t.Run("in prepare send-otp renews the code of a user who has gone, who is created anew", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			f.register(password)
			exec(t, f.db, "DELETE FROM users")
			f.clock.advance(time.Minute)
			f.sendCode()
			mails := f.copies()
			require.Len(f, mails, 2)
			require.NoError(f, f.verify(regexp.MustCompile(`u003e(\d{6})`).FindStringSubmatch(string(mails[1].Body))[1]))
		})
	})

	t.Run("in prepare a failure to read them is an error, and nothing is counted", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			f.register(password)
			exec(t, f.db, "ALTER TABLE users RENAME COLUMN otp TO gone")
			require.ErrorContains(f, f.verify("123456"), "reading a code of the previous release")
			require.Zero(f, f.requests()[0].Code.WrongTries)
		})
	})

	t.Run("in prepare codes work on pods of both releases, and from any browser", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			f.register(password)
			digits, expires := f.oldReads(email)
			require.Regexp(f, `^\d{6}$`, digits.String)
			require.True(f, f.clock.Now().Add(authentication.CodeLifetime).Equal(expires.Time))

			// Ours stays ours: its tries are counted where they were, and a new code replaces it there as well.
			require.ErrorIs(f, f.verify(other(digits.String)), authentication.ErrWrongCode)
			require.Len(f, f.requests(), 1)
			require.Equal(f, f.copies()[0].ID, f.requests()[0].Code.EventID)
			require.Equal(f, 1, f.requests()[0].Code.WrongTries)

			f.clock.advance(time.Minute)
			f.sendCode()
			digits, expires = f.oldReads(email)
			require.True(f, f.clock.Now().Add(authentication.CodeLifetime).Equal(expires.Time))
			require.NoError(f, f.elsewhere().verify(digits.String))
		})
	})

	t.Run("in prepare no pod of the previous release can revive a disabled user", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			u := f.pending(email)
			f.oldStores(u.ID, "012345", start)
			u.DisabledAt = f.clock.Now()
			require.NoError(f, f.users.Update(context.Background(), u))
			digits, expires := f.oldReads(email)
			require.False(f, digits.Valid || expires.Valid)
			require.ErrorIs(f, f.verify("012345"), authentication.ErrOtherBrowser, "there is no such code any more")

			f.register("a stranger's own")
			digits, _ = f.oldReads(email)
			require.False(f, digits.Valid, "no code of ours is where the previous release looks")
			for _, revived := range []string{"is_active = TRUE", "password_hash = 'x'", "otp = '012345'"} {
				_, err := f.db.Exec(context.Background(), "reviving", "UPDATE users SET "+revived+" WHERE id = $1", u.ID)
				require.Error(f, err, revived)
			}
			u.DisabledAt = time.Time{}
			require.NoError(f, f.users.Update(context.Background(), u))
			enabled, err := f.users.ByEmail(context.Background(), email)
			require.NoError(f, err)
			require.Equal(f, password, enabled.PasswordHash)
		})
	})

	t.Run("in prepare password and code where the previous release looks are the newest request's", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Prepare, func(f flow) {
			f.register("the first one")
			f.clock.advance(time.Second)
			f.register("the second one")
			u, err := f.users.ByEmail(context.Background(), email)
			require.NoError(f, err)
			require.Equal(f, "the second one", u.PasswordHash)
			require.False(f, u.Active)
		})
	})

	t.Run("from dual on a code is spent by its browser, and the old columns stay as they are", func(t *testing.T) {
		t.Parallel()
		for _, phase := range []Phase{Dual, Cutover, Complete} {
			t.Run(string(phase), func(t *testing.T) {
				t.Parallel()
				eachFlow(t, phase, func(f flow) {
					u := f.pending(email)
					f.oldStores(u.ID, "012345", start)
					require.ErrorIs(f, f.verify("012345"), authentication.ErrOtherBrowser, "not read")
					f.clock.advance(time.Minute)
					f.sendCode()
					events := f.topic.Events()
					digits := events[len(events)-1].Data.(event.VerificationRequested).OTPCode
					require.ErrorIs(f, f.elsewhere().verify(digits), authentication.ErrOtherBrowser)
					require.NoError(f, f.verify(digits))
					old, expires := f.oldReads(email)
					require.Equal(f, "012345", old.String)
					require.True(f, start.Add(24*time.Hour).Truncate(time.Microsecond).Equal(expires.Time))
				})
			})
		}
	})

	t.Run("from dual on a registration leaves the user's row without a password", func(t *testing.T) {
		t.Parallel()
		eachFlow(t, Dual, func(f flow) {
			f.register(password)
			u, err := f.users.ByEmail(context.Background(), email)
			require.NoError(f, err)
			require.Empty(f, u.PasswordHash)
		})
	})
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
			require.Equal(t, tc.want, replaces(oldCode{digits: "123456", createdAt: start.Add(-tc.age)}, newest, start))
			require.False(t, replaces(oldCode{createdAt: start.Add(-tc.age)}, newest, start), "without digits there is none")
		})
	}
}
