package invitation_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/invitation"
)

var (
	created = time.Date(2026, 1, 31, 9, 30, 0, 0, time.UTC)
	key     = invitation.TokenKeys{[]byte("a key of thirty-two bytes, really")}
)

func newInvitation(change func(*invitation.Invitation)) invitation.Invitation {
	i := invitation.Invitation{CreatedAt: created, ExpiresAt: created.Add(invitation.Lifetime)}
	if change != nil {
		change(&i)
	}
	return i
}

func accepted(i *invitation.Invitation)  { i.AcceptedAt = created }
func cancelled(i *invitation.Invitation) { i.CancelledAt = created }

func TestInvitationAccept(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, tc := range map[string]struct {
		change func(*invitation.Invitation)
		after  time.Duration
		want   error
	}{
		"in time":                  {},
		"in the last moment":       {after: 7*day - time.Microsecond},
		"one microsecond late":     {after: 7 * day, want: invitation.ErrExpired},
		"a second time":            {change: accepted, want: invitation.ErrUsed},
		"cancelled":                {change: cancelled, want: invitation.ErrInvalid},
		"a second time, and late":  {change: accepted, after: 8 * day, want: invitation.ErrUsed},
		"cancelled, and also late": {change: cancelled, after: 8 * day, want: invitation.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInvitation(tc.change)
			before := i
			now := created.Add(tc.after)
			err := i.Accept(now)
			if tc.want != nil {
				require.ErrorIs(t, err, tc.want)
				require.Equal(t, before, i)
				return
			}
			require.NoError(t, err)
			require.Equal(t, now, i.AcceptedAt)
			require.ErrorIs(t, i.Accept(now), invitation.ErrUsed)
		})
	}
}

func TestInvitationEnded(t *testing.T) {
	t.Parallel()
	both := func(i *invitation.Invitation) { accepted(i); cancelled(i) }
	for name, tc := range map[string]struct {
		change        func(*invitation.Invitation)
		sent, known   bool
		ended, failed bool
	}{
		"nothing is known":                      {},
		"sent without being known says nothing": {sent: true},
		"sent":                                  {sent: true, known: true, ended: true},
		"given up":                              {known: true, ended: true, failed: true},
		"cancelled":                             {change: cancelled, ended: true, failed: true},
		"cancelled and given up":                {change: cancelled, known: true, ended: true, failed: true},
		"cancelled when it had left":            {change: cancelled, sent: true, known: true, ended: true},
		"accepted":                              {change: accepted, ended: true},
		"accepted and sent":                     {change: accepted, sent: true, known: true, ended: true},
		"accepted although given up":            {change: accepted, known: true, ended: true},
		"accepted and cancelled":                {change: both, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newInvitation(tc.change)
			ended, failed := i.Ended(tc.sent, tc.known)
			require.Equal(t, tc.ended, ended)
			require.Equal(t, tc.failed, failed)
		})
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	token, digest := key.NewToken()

	t.Run("is random and fits into a URL", func(t *testing.T) {
		t.Parallel()
		require.Regexp(t, `^[A-Za-z0-9_-]{43}$`, token)
		other, _ := key.NewToken()
		require.NotEqual(t, token, other)
	})
	t.Run("has one digest per key", func(t *testing.T) {
		t.Parallel()
		require.Len(t, digest, 32)
		again, err := key.Digests(token)
		require.NoError(t, err)
		require.Equal(t, [][]byte{digest}, again)
		other, err := invitation.TokenKeys{[]byte("another key")}.Digests(token)
		require.NoError(t, err)
		require.NotEqual(t, again, other)
		both, err := invitation.TokenKeys{[]byte("another key"), key[0]}.Digests(token)
		require.NoError(t, err)
		require.Equal(t, [][]byte{other[0], digest}, both)
	})
	// The digest was computed apart from this program, by openssl's HMAC over "invitation", a zero byte and 32 times 'A'.
	t.Run("keeps its digest from release to release", func(t *testing.T) {
		t.Parallel()
		digests, err := key.Digests(base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("A", 32))))
		require.NoError(t, err)
		require.Equal(t, "zXkby9Yf7dRz+5JF+636MtML3AwZrZYl/0xfTyYzHmo=", base64.StdEncoding.EncodeToString(digests[0]))
	})
	raw, err := base64.RawURLEncoding.DecodeString(token)
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"empty":             "",
		"short":             token[:42],
		"long":              token + "A",
		"padded":            token + "=",
		"standard alphabet": strings.Repeat("+", 43),
		"a space":           " " + token,
		"31 bytes":          base64.RawURLEncoding.EncodeToString(raw[:31]),
		"zero":              "\x00" + token[1:],
		"not canonical":     strings.Repeat("A", 42) + "B",
	} {
		t.Run("is refused: "+name, func(t *testing.T) {
			t.Parallel()
			_, err := key.Digests(bad)
			require.ErrorIs(t, err, invitation.ErrInvalid)
		})
	}
}
