package subscription_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/subscription"
)

func TestTrialKey(t *testing.T) {
	t.Parallel()
	key := subscription.TrialKey(strings.Repeat("k", 32))
	t.Run("gives one person one digest", func(t *testing.T) {
		t.Parallel()
		for _, same := range [][2]string{
			{"an@example.com", "AN@Example.COM"},
			{"b\u00ecnh@example.com", "bi\u0300nh@example.com"}, // precomposed, and not
			{"b\u00ecnh@example.com", "B\u00ccNH@example.com"},
			{"b\u00ecnh@example.com", "BI\u0300NH@example.com"},
		} {
			require.Equal(t, key.Digest(same[0]), key.Digest(same[1]), "%q", same)
		}
		require.Len(t, key.Digest("an@example.com"), 32)
	})

	t.Run("takes no address for another by what a provider ignores", func(t *testing.T) {
		t.Parallel()
		const address = "an.le@gmail.com"
		for _, other := range []string{"anle@gmail.com", "an.le+smap@gmail.com", "an.le@googlemail.com", "an.le@gmail.com.vn"} {
			require.NotEqual(t, key.Digest(address), key.Digest(other), other)
		}
	})

	t.Run("gives another digest with another key", func(t *testing.T) {
		t.Parallel()
		require.NotEqual(t, key.Digest("an@example.com"), subscription.TrialKey(strings.Repeat("l", 32)).Digest("an@example.com"))
	})
}
