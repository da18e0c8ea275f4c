package authentication_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func newInvitation() authentication.Invitation {
	return authentication.Invitation{CreatedAt: created, ExpiresAt: created.Add(authentication.InvitationLifetime)}
}

func TestInvitationAccept(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*authentication.Invitation)
		now    time.Time
		want   error
	}{
		"in time":                  {now: created},
		"in the last moment":       {now: created.Add(7*24*time.Hour - time.Microsecond)},
		"one microsecond late":     {now: created.Add(7 * 24 * time.Hour), want: authentication.ErrInvitationExpired},
		"a second time":            {func(i *authentication.Invitation) { i.AcceptedAt = created }, created, authentication.ErrInvitationUsed},
		"cancelled":                {func(i *authentication.Invitation) { i.CancelledAt = created }, created, authentication.ErrInvitationInvalid},
		"a second time, and late":  {func(i *authentication.Invitation) { i.AcceptedAt = created }, created.Add(8 * 24 * time.Hour), authentication.ErrInvitationUsed},
		"cancelled, and also late": {func(i *authentication.Invitation) { i.CancelledAt = created }, created.Add(8 * 24 * time.Hour), authentication.ErrInvitationInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInvitation()
			if tc.change != nil {
				tc.change(&i)
			}
			before := i
			err := i.Accept(tc.now)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Equal(t, before, i)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.now, i.AcceptedAt)
			require.ErrorIs(t, i.Accept(tc.now), authentication.ErrInvitationUsed)
		})
	}
}

func TestInvitationEnded(t *testing.T) {
	t.Parallel()
	type state struct{ accepted, cancelled, sent, known bool }
	for s, want := range map[state][2]bool{
		{}:                        {false, false},
		{sent: true, known: true}: {true, false},
		{known: true}:             {true, true},
		{cancelled: true}:         {true, true},
		{cancelled: true, sent: true, known: true}: {true, false}, // it had left when it was withdrawn
		{accepted: true}:                            {true, false},
		{accepted: true, known: true}:               {true, false}, // it was not known to have arrived
		{accepted: true, cancelled: true}:           {true, false},
		{cancelled: true, known: true, sent: false}: {true, true},
		{accepted: true, sent: true, known: true}:   {true, false},
		{sent: true /* and not known: says nothing */}: {false, false},
	} {
		i := newInvitation()
		if s.accepted {
			i.AcceptedAt = created
		}
		if s.cancelled {
			i.CancelledAt = created
		}
		ended, failed := i.Ended(s.sent, s.known)
		require.Equal(t, want, [2]bool{ended, failed}, "%+v", s)
	}
}

func TestInvitationTokens(t *testing.T) {
	t.Parallel()
	token := authentication.NewInvitationToken()
	require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, token)
	require.NotEqual(t, token, authentication.NewInvitationToken())
	digest, err := key.InvitationDigest(token)
	require.NoError(t, err)
	require.Len(t, digest, 32)
	again, err := key.InvitationDigest(token)
	require.NoError(t, err)
	require.Equal(t, digest, again)
	other, err := authentication.CodeKey("another key").InvitationDigest(token)
	require.NoError(t, err)
	require.NotEqual(t, digest, other)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"empty": "", "short": token[:42], "long": token + "A", "padded": token + "=", "standard alphabet": strings.Repeat("+", 43),
		"a space": " " + token, "31 bytes": base64.RawURLEncoding.EncodeToString(raw[:31]), "zero": "\x00" + token[1:],
		"not canonical": strings.Repeat("A", 42) + "B",
	} {
		_, err := key.InvitationDigest(bad)
		require.ErrorIs(t, err, authentication.ErrInvitationInvalid, name)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	id, ok := strings.CutPrefix(authentication.NewBatchID(), "proj_")
	require.True(t, ok)
	require.Equal(t, uuid.Version(7), uuid.MustParse(id).Version())

	b := authentication.Batch{RequestDigest: []byte{1}, LastDueAt: created.Add(time.Hour)}
	require.NoError(t, b.Repeats([]byte{1}))
	require.ErrorIs(t, b.Repeats([]byte{2}), authentication.ErrKeyReused)

	b.Cancel(created)
	require.Equal(t, created, b.CancelledAt)
	require.Equal(t, created, b.LastDueAt, "nothing will leave any more")
	b.Cancel(created.Add(time.Minute))
	require.Equal(t, created, b.CancelledAt)
	require.Equal(t, created, b.LastDueAt)

	require.True(t, b.Complete(created))
	require.False(t, b.Complete(created.Add(time.Minute)))
	require.Equal(t, created, b.CompletedAt)
}

func TestBatchMarksDue(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		batch authentication.Batch
		after time.Duration
		want  bool
	}{
		"mails are still leaving":  {authentication.Batch{LastDueAt: created.Add(time.Hour)}, time.Minute, false},
		"the last has just left":   {authentication.Batch{LastDueAt: created}, 2 * time.Minute, false},
		"all have left":            {authentication.Batch{LastDueAt: created}, 2*time.Minute + 1, true},
		"somebody has just looked": {authentication.Batch{LastDueAt: created, MarkedAt: created.Add(9 * time.Minute)}, 10 * time.Minute, false},
		"nobody has for a while":   {authentication.Batch{LastDueAt: created, MarkedAt: created.Add(8 * time.Minute)}, 10 * time.Minute, true},
		"cancelled":                {authentication.Batch{LastDueAt: created, CancelledAt: created}, 0, true},
		"cancelled, and looked at": {authentication.Batch{CancelledAt: created, MarkedAt: created}, time.Minute, false},
	} {
		require.Equal(t, tc.want, tc.batch.MarksDue(created.Add(tc.after)), name)
	}
}

func TestInvitedUser(t *testing.T) {
	t.Parallel()
	for want, users := range map[bool][]authentication.User{
		true:  {{}},
		false: {{Active: true}, {PasswordHash: "x"}, {Active: true, PasswordHash: "x"}},
	} {
		for _, u := range users {
			require.Equal(t, want, u.Invited(), u)
		}
	}
}
