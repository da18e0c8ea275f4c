package legacy

import (
	"context"
	"testing"
	"time"

	"github.com/golang/mock/gomock"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/internal/authentication/usecase"
	"github.com/smap-platform/identity/internal/event"
)

const legacyDigits = "654321"

// legacyCode is what the previous release has for the user, made age before start.
func legacyCode(age time.Duration) authentication.LegacyCode {
	return authentication.LegacyCode{Digits: legacyDigits, CreatedAt: start.Add(-age)}
}

// adopted is legacyCode(age) as one of ours.
func adopted(age time.Duration) authentication.Code {
	return authentication.Code{
		UserID: userID, Purpose: purpose, Digest: codeKey.Digest(purpose, userID, legacyDigits),
		CreatedAt: start.Add(-age), ExpiresAt: start.Add(authentication.CodeLifetime - age),
	}
}

// storedAt is a code of ours, made age before start.
func storedAt(age time.Duration) authentication.Code {
	c := storedCode()
	c.CreatedAt, c.ExpiresAt = start.Add(-age), start.Add(authentication.CodeLifetime-age)
	return c
}

// expectCodes: the user is pending, and this is what both releases have for him. The zero Code: none of ours.
func (f *fixture) expectCodes(ours authentication.Code, legacy authentication.LegacyCode) {
	var missing error
	if ours.UserID == "" {
		missing = authentication.ErrCodeNotFound
	}
	gomock.InOrder(
		f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil),
		f.codes.EXPECT().Find(inside, userID, purpose).Return(ours, missing),
		f.legacy.EXPECT().Find(inside, userID).Return(legacy, nil),
	)
}

func TestVerifyTakesACodeOfThePreviousRelease(t *testing.T) {
	t.Parallel()
	for name, ours := range map[string]authentication.Code{
		"when there is none of ours": {},
		"that is newer than ours":    storedAt(6 * time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.expectCodes(ours, legacyCode(5*time.Minute))
			spent, verified := adopted(5*time.Minute), activeUser()
			spent.UsedAt = start
			gomock.InOrder(
				f.codes.EXPECT().Save(inside, spent),
				f.users.EXPECT().Update(inside, verified),
				f.trials.EXPECT().StartTrial(inside, userID),
				f.tokens.EXPECT().Issue(verified, false).Return(token, nil),
			)
			session, err := f.Verify(context.Background(), email, legacyDigits)
			require.NoError(t, err)
			require.Equal(t, verified, session.User)
			f.requireTx(t, 1, 0)
		})
	}
}

func TestVerifyCountsAWrongTryOfACodeOfThePreviousRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.expectCodes(storedAt(6*time.Minute), legacyCode(5*time.Minute))
	tried := adopted(5 * time.Minute)
	tried.WrongTries = 1
	f.codes.EXPECT().Save(inside, tried)
	_, err := f.Verify(context.Background(), email, digits) // right until the other was made
	require.ErrorIs(t, err, authentication.ErrWrongCode)
	f.requireTx(t, 1, 0)
}

func TestVerifyRefusesACodeOfThePreviousReleaseThat(t *testing.T) {
	t.Parallel()
	tried := func(c authentication.Code, wrongTries int) *authentication.Code {
		c.WrongTries = wrongTries
		return &c
	}
	for name, tc := range map[string]struct {
		ours   authentication.Code
		legacy time.Duration
		saved  *authentication.Code
		want   error
	}{
		"is eleven minutes old":                  {legacy: 11 * time.Minute, want: authentication.ErrWrongCode},
		"expires now":                            {legacy: 10 * time.Minute, saved: tried(adopted(10*time.Minute), 0), want: authentication.ErrCodeExpired},
		"is eleven minutes old, ours was tried":  {ours: storedAt(2 * time.Minute), legacy: 11 * time.Minute, saved: tried(storedAt(2*time.Minute), 1), want: authentication.ErrWrongCode},
		"is older than ours":                     {ours: storedAt(2 * time.Minute), legacy: 3 * time.Minute, saved: tried(storedAt(2*time.Minute), 1), want: authentication.ErrWrongCode},
		"was adopted, and tried too often":       {ours: *tried(adopted(time.Minute), 5), legacy: time.Minute, saved: tried(adopted(time.Minute), 5), want: authentication.ErrTooManyTries},
		"was put there by us, expiring as ours":  {ours: storedAt(2 * time.Minute), legacy: 24*time.Hour - 8*time.Minute, saved: tried(storedAt(2*time.Minute), 1), want: authentication.ErrWrongCode},
		"comes from a clock two minutes too far": {legacy: -2 * time.Minute, want: authentication.ErrWrongCode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.expectCodes(tc.ours, legacyCode(tc.legacy))
			if tc.saved != nil {
				f.codes.EXPECT().Save(inside, *tc.saved)
			}
			_, err := f.Verify(context.Background(), email, legacyDigits)
			require.ErrorIs(t, err, tc.want)
			f.requireTx(t, 1, 0)
		})
	}
}

func TestVerifyRollsBackWhenThePreviousReleasesCodeCannotBeRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.users.EXPECT().LockByEmail(inside, email).Return(pendingUser(), nil)
	f.codes.EXPECT().Find(inside, userID, purpose).Return(storedCode(), nil)
	f.legacy.EXPECT().Find(inside, userID).Return(authentication.LegacyCode{}, errBroken)
	_, err := f.Verify(context.Background(), email, digits)
	require.ErrorIs(t, err, errBroken)
	f.requireTx(t, 0, 1)
}

func TestSendCodeWaitsForACodeOfThePreviousReleaseToo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		ours   authentication.Code
		legacy time.Duration
		sends  bool
	}{
		"a second too soon":                    {legacy: 59 * time.Second},
		"a second too soon, ours is older":     {ours: storedAt(5 * time.Minute), legacy: 59 * time.Second},
		"from a clock that is ahead":           {legacy: -time.Minute},
		"a minute old":                         {legacy: time.Minute, sends: true},
		"too old to be looked at":              {legacy: time.Hour, sends: true},
		"put there by us with the one we have": {ours: storedAt(time.Minute), legacy: 24*time.Hour - 9*time.Minute, sends: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.expectPassword(pendingUser())
			f.expectCodes(tc.ours, legacyCode(tc.legacy))
			if tc.sends {
				f.codes.EXPECT().Save(inside, gomock.Any())
			}
			require.NoError(t, f.SendCode(context.Background(), credentials(), "en"))
			if tc.sends {
				require.Len(t, f.events.Events(), 1)
			} else {
				require.Empty(t, f.events.Events())
			}
		})
	}
}

func withMixed(d *usecase.Deps) { d.Mixed = true }

// The mocks of all other tests expect no Save: without Mixed, nothing is written there.
func TestMixedCodesAreAlsoWrittenWhereThePreviousReleaseLooks(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]func(f *fixture) error{
		"when registering": func(f *fixture) error {
			f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
			f.users.EXPECT().Create(inside, gomock.Any())
			return f.Register(context.Background(), credentials(), "en")
		},
		"when sending another": func(f *fixture) error {
			f.expectPassword(pendingUser())
			f.expectCodes(authentication.Code{}, legacyCode(2*time.Minute))
			return f.SendCode(context.Background(), credentials(), "en")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, withMixed)
			var saved authentication.Code
			var mirrored string
			f.codes.EXPECT().Save(inside, gomock.Any()).Do(func(_ context.Context, c authentication.Code) { saved = c })
			f.legacy.EXPECT().Save(inside, gomock.Any(), gomock.Any(), start.Add(authentication.CodeLifetime)).
				Do(func(_ context.Context, id, digits string, _ time.Time) {
					require.Equal(t, saved.UserID, id)
					mirrored = digits
				})
			require.NoError(t, act(f))
			events := f.events.Events()
			require.Len(t, events, 1)
			require.Equal(t, events[0].Data.(event.VerificationRequested).OTPCode, mirrored)
			f.requireTx(t, 1, 0)
		})
	}
}

func TestMixedRollsBackWhatThePreviousReleaseWouldNotKnow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, withMixed)
	f.passwords.EXPECT().Hash(outside, password).Return("new hash", nil)
	f.users.EXPECT().Create(inside, gomock.Any())
	f.codes.EXPECT().Save(inside, gomock.Any())
	f.legacy.EXPECT().Save(inside, gomock.Any(), gomock.Any(), gomock.Any()).Return(errBroken)
	require.ErrorIs(t, f.Register(context.Background(), credentials(), "en"), errBroken)
	f.requireTx(t, 0, 1)
	require.Empty(t, f.events.Events())
}
