package app

import (
	"net"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/config"
)

func TestListen(t *testing.T) {
	t.Parallel()
	in := func(host string) *infra {
		return &infra{cfg: config.Config{HTTP: config.HTTP{Host: host}}, log: zerolog.Nop()}
	}
	t.Run("names HOST when it is no address of this machine", func(t *testing.T) {
		t.Parallel()
		for _, host := range []string{"nosuch.invalid", "192.0.2.1"} {
			_, err := in(host).listen(t.Context(), "APP_PORT", 0, "")
			require.ErrorContains(t, err, "HOST: port 0 of "+host)
			_, err = embed(t.Context(), config.Config{
				HTTP: config.HTTP{Host: host},
				SMTP: config.SMTP{Host: "127.0.0.1"},

				Embedded: config.Embedded{Public: true},
			}, "", zerolog.Nop())
			require.ErrorContains(t, err, "HOST: inbox: cannot listen")
		}
	})
	t.Run("names the port when that is taken", func(t *testing.T) {
		t.Parallel()
		l, err := in("127.0.0.1").listen(t.Context(), "APP_PORT", 0, "")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		_, err = in("127.0.0.1").listen(t.Context(), "APP_PORT", l.Addr().(*net.TCPAddr).Port, "")
		require.ErrorContains(t, err, "APP_PORT: port")
	})
}
