package legacy

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
	"github.com/smap-platform/identity/internal/event/eventtest"
)

// plain is a PasswordHasher that hashes nothing.
type plain struct{}

func (plain) Hash(_ context.Context, password string) (string, error) { return password, nil }

func (plain) Verify(_ context.Context, hash, password string) (ok, outdated bool, err error) {
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

func (t *trials) StartTrial(context.Context, string) error {
	t.started++
	return nil
}

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// flow is the use cases on the real repositories, for what takes several requests.
type flow struct {
	suite
	*usecase.UseCase
	clock  *clock
	trials *trials
	events *eventtest.Recorder
}

const flowEmail, flowPassword = "flow@example.com", "correct horse"

func eachFlow(t *testing.T, mixed bool, test func(f flow)) {
	t.Helper()
	each(t, func(s suite) {
		f := flow{suite: s, clock: &clock{now}, trials: &trials{}, events: &eventtest.Recorder{}}
		f.UseCase = usecase.New(usecase.Deps{
			Tx: s.db, Users: s.users, Codes: s.codes, LegacyCodes: s.legacy, Passwords: plain{}, Tokens: tokens{},
			Trials: f.trials, Events: f.events, Clock: f.clock, CodeKey: authentication.CodeKey("key"), Mixed: mixed,
		})
		test(f)
	})
}

// pending is a user who registered on a pod of the previous release.
func (f flow) pending() authentication.User {
	u := newUser(flowEmail)
	u.Active, u.PasswordHash = false, flowPassword
	require.NoError(f, f.users.Create(context.Background(), u))
	return u
}

func (f flow) verify(digits string) error {
	_, err := f.Verify(context.Background(), flowEmail, digits)
	return err
}

func (f flow) sendCode() {
	f.Helper()
	c := authentication.Credentials{Email: flowEmail, Password: flowPassword}
	require.NoError(f, f.SendCode(context.Background(), c, "en"))
}

// mailed answers the digits of the n-th mail of ours, counted from 1.
func (f flow) mailed(n int) string {
	f.Helper()
	events := f.events.Events()
	require.Len(f, events, n)
	return events[n-1].Data.(event.VerificationRequested).OTPCode
}

// other answers digits that are not these.
func other(digits string) string {
	if digits == "111111" {
		return "222222"
	}
	return "111111"
}

func TestACodeOfThePreviousReleaseIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.legacyStores(u.ID, "012345", now)
		f.clock.now = now.Add(9 * time.Minute)
		require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
		require.NoError(f, f.verify("012345"))
		verified, err := f.users.ByID(context.Background(), u.ID)
		require.NoError(f, err)
		require.True(f, verified.Active)
		require.Equal(f, 1, f.trials.started)

		require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode, "a second time")
		f.exec("UPDATE users SET is_active = false WHERE id = $1", u.ID)
		require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode, "even if the user were pending again")
		require.Equal(f, 1, f.trials.started)
	})
}

func TestACodeOfThePreviousReleaseDiesAfterFiveWrongTries(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.legacyStores(u.ID, "012345", now)
		for i := range authentication.MaxWrongTries {
			f.clock.now = now.Add(time.Duration(i) * time.Second)
			require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
			f.sendCode() // within the minute: nothing happens, and nothing is forgotten
		}
		require.Empty(f, f.events.Events())
		for range 3 {
			require.ErrorIs(f, f.verify("012345"), authentication.ErrTooManyTries)
		}
		f.legacyStores(u.ID, "543210", f.clock.now) // a new one, asked for with the password
		require.NoError(f, f.verify("543210"))
	})
}

func TestTheNewerCodeWins(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.sendCode()
		first := f.mailed(1)
		theirs := other(first)
		f.legacyStores(u.ID, theirs, now.Add(2*time.Minute))
		f.clock.now = now.Add(3 * time.Minute)
		require.ErrorIs(f, f.verify(first), authentication.ErrWrongCode, "theirs is newer")

		f.clock.now = now.Add(4 * time.Minute)
		f.sendCode()
		second := f.mailed(2)
		if theirs != second {
			require.ErrorIs(f, f.verify(theirs), authentication.ErrWrongCode, "ours is newer")
		}
		require.NoError(f, f.verify(second))
	})
}

func TestACodeOfThePreviousReleaseIsTooOldAfterTenMinutes(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.legacyStores(u.ID, "012345", now)
		f.clock.now = now.Add(11 * time.Minute)
		require.ErrorIs(f, f.verify("012345"), authentication.ErrWrongCode)
		_, err := f.codes.Find(context.Background(), u.ID, purpose)
		require.ErrorIs(f, err, authentication.ErrCodeNotFound)
	})
}

// One that was tried in time is one of ours, and says what is the matter.
func TestACodeOfThePreviousReleaseExpiresLikeOneOfOurs(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.legacyStores(u.ID, "012345", now)
		require.ErrorIs(f, f.verify("999999"), authentication.ErrWrongCode)
		f.clock.now = now.Add(11 * time.Minute)
		require.ErrorIs(f, f.verify("012345"), authentication.ErrCodeExpired)
	})
}

func TestMixedCodesWorkOnPodsOfBothReleases(t *testing.T) {
	t.Parallel()
	eachFlow(t, true, func(f flow) {
		require.NoError(f, f.Register(context.Background(), authentication.Credentials{Email: flowEmail, Password: flowPassword}, "en"))
		digits, expires := f.legacyReads(flowEmail)
		require.Equal(f, f.mailed(1), digits.String)
		require.True(f, now.Add(authentication.CodeLifetime).Equal(expires.Time))

		// Ours stays ours: its tries are counted where they were, and a new code replaces it there as well.
		require.ErrorIs(f, f.verify(other(digits.String)), authentication.ErrWrongCode)
		u, err := f.users.ByEmail(context.Background(), flowEmail)
		require.NoError(f, err)
		code, err := f.codes.Find(context.Background(), u.ID, purpose)
		require.NoError(f, err)
		require.Equal(f, f.events.Events()[0].ID, code.EventID)
		require.Equal(f, 1, code.WrongTries)

		f.clock.now = now.Add(time.Minute)
		f.sendCode()
		digits, expires = f.legacyReads(flowEmail)
		require.Equal(f, f.mailed(2), digits.String)
		require.True(f, f.clock.now.Add(authentication.CodeLifetime).Equal(expires.Time))
		require.NoError(f, f.verify(digits.String))
	})
}

func TestWithoutMixedThePreviousReleasesColumnsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	eachFlow(t, false, func(f flow) {
		u := f.pending()
		f.legacyStores(u.ID, "012345", now.Add(-time.Hour))
		f.sendCode()
		require.NoError(f, f.verify(f.mailed(1)))
		digits, expires := f.legacyReads(flowEmail)
		require.Equal(f, "012345", digits.String)
		require.True(f, now.Add(23*time.Hour).Equal(expires.Time))
	})
}
