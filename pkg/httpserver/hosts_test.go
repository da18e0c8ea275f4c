package httpserver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/pkg/httpserver"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	own := httpserver.Hosts{"dev-box.lan", ""}
	t.Run("allows addresses and names that nobody else can give out", func(t *testing.T) {
		t.Parallel()
		for _, host := range []string{
			"127.0.0.1", "127.0.0.1:8080", "127.3.2.1:1", "[::1]:8080", "[::1]", "::1", "192.168.1.7:8080", "localhost", "LocalHost:80",
			"localhost.:80", "app.localhost:80", "dev-box.lan", "DEV-BOX.lan:8080",
		} {
			require.True(t, own.Allow(host), host)
		}
	})
	t.Run("refuses every other name", func(t *testing.T) {
		t.Parallel()
		for _, host := range []string{
			"", ":80", "evil.test", "evil.test:8080", "127.0.0.1.evil.test", "127.0.0.1.nip.io:8080", "localhost.evil.test", "xlocalhost",
			"dev-box.lan.evil.test", "127.0.0.1@evil.test", "2130706433", "0x7f000001", "127.1", "[::1]x",
		} {
			require.False(t, own.Allow(host), host)
		}
		require.False(t, httpserver.Hosts(nil).Allow("dev-box.lan"))
	})
}
