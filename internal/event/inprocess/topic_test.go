package inprocess

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, key string
		want         bool
	}{
		{"a.b", "a.b", true}, {"a.b", "a.c", false}, {"a.b", "a", false}, {"a", "a.b", false},
		{"*", "a", true}, {"*", "a.b", false}, {"*", "", false}, {"a.*", "a", false}, {"a.*", "a.", true},
		{"*.b", "a.b", true}, {"a.*.c", "a.b.c", true}, {"a.*.c", "a.c", false},
		{"#", "", true}, {"#", "a", true}, {"#", "a.b.c", true}, {"a.#", "a", true}, {"a.#", "a.b.c", true},
		{"a.#", "ab", false}, {"#.c", "a.b.c", true}, {"#.c", "c", true}, {"#.c", "c.d", false},
		{"a.#.c", "a.c", true}, {"a.#.c", "a.b.b.c", true}, {"a.#.c", "a.b.b", false},
		{"#.b.#", "a.b.c", true}, {"#.b.#", "b", true}, {"#.b.#", "a.c", false}, {"*.#", "", false}, {"*.#", "a", true},
		{"#.*", "a.b", true}, {"#.#", "", true}, {"", "", true}, {"", "a", false}, {"a#", "ab", false},
	} {
		require.Equal(t, c.want, matches(c.pattern, c.key), "%q against %q", c.pattern, c.key)
	}
}
