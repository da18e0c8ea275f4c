package authentication_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestMakeRoom(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	request := func(id, network string, age time.Duration) authentication.CodeRequest {
		return authentication.CodeRequest{ID: id, Network: network, Code: authentication.Code{CreatedAt: now.Add(-age)}}
	}
	const live, old = time.Minute, time.Hour
	for name, c := range map[string]struct {
		requests []authentication.CodeRequest
		out      []string
		err      error
	}{
		"nothing for the first":                     {},
		"nothing while there is room":               {requests: []authentication.CodeRequest{request("a", "mine", live)}},
		"the oldest of its own network for a third": {requests: []authentication.CodeRequest{request("a", "mine", live), request("b", "mine", live+1)}, out: []string{"b"}},
		"no live one of others, however many it has itself": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "y", live), request("d", "mine", live)},
		},
		"its own for the sixth": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "y", live), request("d", "y", live), request("e", "mine", live)},
			out:      []string{"e"},
		},
		"one of others that no longer holds its place before its own": {
			requests: []authentication.CodeRequest{request("a", "x", old), request("b", "x", live), request("c", "y", old+1), request("d", "y", live), request("e", "mine", live)},
			out:      []string{"c"},
		},
		"nobody when all places are held by others": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "y", live), request("d", "y", live), request("e", "z", live)},
			err:      authentication.ErrRequestsFull,
		},
	} {
		t.Run("pushes out "+name, func(t *testing.T) {
			out, err := authentication.MakeRoom(c.requests, "mine", now)
			require.ErrorIs(t, err, c.err)
			var ids []string
			for _, r := range out {
				ids = append(ids, r.ID)
			}
			require.Equal(t, c.out, ids)
		})
	}
}

func TestPasswordTag(t *testing.T) {
	key := authentication.CodeKey("0123456789abcdef0123456789abcdef")

	t.Run("is the same for an address in another case of letters", func(t *testing.T) {
		require.Equal(t, key.PasswordTag("an@example.com", "secret"), key.PasswordTag("An@Example.com", "secret"))
		require.Equal(t, key.PasswordTag("an@example.com", "mậtkhẩu"), key.PasswordTag("an@example.com", norm.NFD.String("mậtkhẩu")))
	})

	t.Run("depends on the address, the password and the key", func(t *testing.T) {
		tag := key.PasswordTag("an@example.com", "secret")
		require.NotEqual(t, tag, key.PasswordTag("bo@example.com", "secret"))
		require.NotEqual(t, tag, key.PasswordTag("an@example.com", "Secret"))
		require.NotEqual(t, tag, authentication.CodeKey("another").PasswordTag("an@example.com", "secret"))
	})
}
