package config

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An origin that is accepted is what a browser sends: compared byte by byte, anything else would never match, or match too
// much.
func FuzzParseOrigin(f *testing.F) {
	for _, seed := range []string{
		"https://app.smap.example", "HTTPS://APP.smap.example:443", "http://10.1.2.3:3000", "http://[::1]:3000", "https://app.smap.example/", "*", "null",
		"https://*.smap.example", "https://u@app.smap.example", "https://app.smap.example:", "https://app.smap.example:0443", "https://0x7f.1", "https://[::ffff:1.2.3.4]",
		"https://app.smap.example?", "https://app.smap.example#", "https://\u00e4.example", "https://[fe80::1%25en0]", "https://a..b", "http://app:080", "https://app%2esmap",
		"https://\u212aapp.example", "https://a.1", "https://a:443:443",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, entry string) {
		origin, ok := parseOrigin(entry)
		if !ok {
			return
		}
		again, ok := parseOrigin(origin)
		require.True(t, ok)
		require.Equal(t, origin, again, "an origin has one spelling")
		require.Regexp(t, `^https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]*)?$`, origin)
		u, err := url.Parse(origin)
		require.NoError(t, err)
		require.Equal(t, u.Scheme+"://"+u.Host, origin)
		require.NotContains(t, []string{"http:80", "https:443"}, u.Scheme+":"+u.Port())
	})
}

// A proxy that is trusted is one address or a range with an end.
func FuzzParseProxy(f *testing.F) {
	for _, seed := range []string{
		"10.0.3.7", "10.0.0.0/8", "10.0.3.7/8", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "::ffff:0:0/96", "::ffff:0:0/80", "fe80::1%eth0", "10.0.0.0/33",
		"10.0.0.0/-1", "10.0.0.0/08", "010.0.0.1", "::1/128", "fe80::%x/10", "",
	} {
		f.Add(seed)
	}
	strangers := []netip.Addr{netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("130.2.3.4"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("fe80::1")}
	f.Fuzz(func(t *testing.T, entry string) {
		prefix, ok := parseProxy(entry)
		if !ok {
			return
		}
		require.True(t, prefix.IsValid())
		require.Equal(t, prefix.Masked(), prefix)
		require.False(t, prefix.Addr().Is4In6() && prefix.Bits() >= 96, "the peers it is compared with are IPv4")
		trusted := 0
		for _, stranger := range strangers {
			if prefix.Contains(stranger) {
				trusted++
			}
		}
		require.LessOrEqual(t, trusted, 2, "that is everybody")
		require.False(t, prefix.Contains(strangers[0]) && prefix.Contains(strangers[1]), "that is everybody")
		again, ok := parseProxy(prefix.String())
		require.True(t, ok)
		require.Equal(t, prefix, again)
	})
}

// A list of nodes is refused, without a word of it, or completed: every node has what one has.
func FuzzParseNodes(f *testing.F) {
	for _, seed := range []string{
		"amqp://u:p@a/v,amqp://u:p@b/v", "amqp://u:p@a,b:1,[::1]/v", "amqp://u:p%2C@a,b", "amqp://u:a,b@c/", "amqps://u:p@a?cacertfile=x,b",
		"amqp://a,amqp://u:p@b", ",", "amqp://a,,b", "amqp://a,b#c", "amqp://a/%2f,b//", "amqp://a,b?x=%zz",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		nodes, wrong := parseNodes(text, "amqp", "amqps")
		if wrong != "" {
			require.Regexp(t, "^(has|names) [a-zA-Z ]+$", wrong)
			return
		}
		for _, u := range nodes {
			require.Equal(t, nodes[0].User, u.User)
			require.Equal(t, nodes[0].Path, u.Path)
			require.Equal(t, nodes[0].Scheme, u.Scheme)
		}
		complete := completeNodes(Secret(text), "amqp", "amqps")
		if len(nodes) > 1 {
			require.Equal(t, len(nodes)-1, strings.Count(string(complete), ","))
			require.Equal(t, complete, completeNodes(complete, "amqp", "amqps"), "complete is complete")
		}
	})
}
