package authentication_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/authentication"
)

func TestClient(t *testing.T) {
	t.Run("has the network of its address", func(t *testing.T) {
		for address, network := range map[string]string{
			"203.0.113.77":        "203.0.113.0/24",
			"::ffff:203.0.113.77": "203.0.113.0/24",
			"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
			"fe80::1%eth0":        "fe80::/64",
		} {
			c := authentication.Client{IP: netip.MustParseAddr(address)}
			require.Equal(t, network, c.Network(), address)
		}
		require.Empty(t, new(authentication.Client).Network())
	})

	t.Run("keeps the first browser value that can be ours", func(t *testing.T) {
		first, second := authentication.NewBrowser(), authentication.NewBrowser()
		require.NotEqual(t, first, second)
		c := authentication.Client{Browsers: []string{"", "planted", first + "A", first, second}}
		require.Equal(t, first, c.Browser())
		require.Len(t, c.BrowserDigests(), 2)
	})

	t.Run("gets a new browser value when it has none", func(t *testing.T) {
		var c authentication.Client
		one, another := c.Browser(), c.Browser()
		require.NotEqual(t, one, another)
		digest, ok := authentication.BrowserDigest(one)
		require.True(t, ok)
		require.Len(t, digest, 32)
		require.NotContains(t, string(digest), one)
	})
}
