package authentication_test

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/smap-platform/identity/internal/authentication"
	"github.com/smap-platform/identity/pkg/apperror"
)

func TestMakeRoom(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	request := func(id, network string, age time.Duration) authentication.CodeRequest {
		return authentication.CodeRequest{ID: id, Network: network, Code: authentication.Code{CreatedAt: now.Add(-age)}}
	}
	const live, old = time.Minute, time.Hour
	for name, c := range map[string]struct {
		requests []authentication.CodeRequest
		network  string // "": mine; "-": not known
		known    []string
		out      []string
		err      error
		wait     time.Duration
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
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "y", live), request("d", "y", live+time.Second), request("e", "z", live)},
			err:      authentication.TryAgainIn(time.Second),
			wait:     28*time.Minute + 59*time.Second,
		},
		"the oldest of a stranger for a network that has logged in": {
			requests: []authentication.CodeRequest{request("a", "home", live+3), request("b", "x", live), request("c", "y", live+2), request("d", "", live+1), request("e", "z", live)},
			known:    []string{"home", "mine"},
			out:      []string{"c"},
		},
		"that of a client whose network is not known for one that has logged in": {
			requests: []authentication.CodeRequest{request("a", "", live), request("b", "", live), request("c", "", live), request("d", "", live+1), request("e", "", live)},
			known:    []string{"mine"},
			out:      []string{"d"},
		},
		"its own before a stranger's": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "y", live), request("d", "y", live), request("e", "mine", live)},
			known:    []string{"mine"},
			out:      []string{"e"},
		},
		"none of others that have logged in": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "x", live), request("d", "x", live), request("e", "x", live)},
			known:    []string{"mine", "x"},
			err:      authentication.TryAgainIn(time.Second),
			wait:     29 * time.Minute,
		},
		"none of a network that has logged in for a stranger": {
			requests: []authentication.CodeRequest{request("a", "x", live), request("b", "x", live), request("c", "x", live), request("d", "x", live), request("e", "x", live)},
			known:    []string{"x"},
			err:      authentication.TryAgainIn(time.Second),
			wait:     29 * time.Minute,
		},
		"nothing live for clients whose network is not known": {
			requests: []authentication.CodeRequest{request("a", "", live), request("b", "", live), request("c", "", live), request("d", "", live)},
			network:  "-",
		},
		"what no longer holds its place for clients whose network is not known": {
			requests: []authentication.CodeRequest{request("a", "", live), request("b", "", old), request("c", "", live), request("d", "", live), request("e", "", live)},
			network:  "-",
			out:      []string{"b"},
		},
		"nobody for clients whose network is not known, when all places are held": {
			requests: []authentication.CodeRequest{request("a", "", live), request("b", "", live), request("c", "", live), request("d", "", live), request("e", "", live)},
			network:  "-",
			err:      authentication.TryAgainIn(time.Second),
			wait:     29 * time.Minute,
		},
	} {
		t.Run("pushes out "+name, func(t *testing.T) {
			network := strings.TrimPrefix(cmp.Or(c.network, "mine"), "-")
			out, err := authentication.MakeRoom(c.requests, network, c.known, now)
			require.ErrorIs(t, err, c.err)
			if err != nil {
				require.Equal(t, c.wait, apperror.From(err).After)
			}
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
