package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOrigins(t *testing.T) {
	load := func(t *testing.T, role Role, env map[string]string) (HTTP, error) {
		t.Helper()
		setenv(t, complete(), env)
		cfg, err := Load(role)
		return cfg.HTTP, err
	}

	t.Run("are kept as browsers write them", func(t *testing.T) {
		for value, want := range map[string][]string{
			"https://app.smap.example":                            {"https://app.smap.example"},
			"https://app.smap.example ,\thttp://10.1.2.3:3000":    {"https://app.smap.example", "http://10.1.2.3:3000"},
			"HTTPS://App.Smap.Example":                            {"https://app.smap.example"},
			"https://a.example:443,http://a.example:80":           {"https://a.example", "http://a.example"},
			"https://a.example:80,http://a.example:443":           {"https://a.example:80", "http://a.example:443"},
			"https://a.example,https://a.example:443":             {"https://a.example"},
			"http://[::1]:3000,http://[2001:DB8::1]:80":           {"http://[::1]:3000", "http://[2001:db8::1]"},
			"https://xn--bcher-kva.example,http://localhost:3000": {"https://xn--bcher-kva.example", "http://localhost:3000"},
			"https://smap.example.,http://my_host:8080":           {"https://smap.example.", "http://my_host:8080"},
		} {
			h, err := load(t, API, map[string]string{"CORS_ORIGINS": value})
			require.NoError(t, err, value)
			require.Equal(t, want, h.Origins, value)
		}
	})

	t.Run("are refused by name and number", func(t *testing.T) {
		for _, value := range []string{
			"*", "null", "app.smap.example", "https://*.smap.example", "https://*", "http://localhost:*", "https://", "https:a.example",
			"//a.example", "https://a.example/", "https://a.example/path", "https://a.example?", "https://a.example?x=1",
			"https://a.example#", "https://a.example#x", "https://a.example:", "https://a.example:0", "https://a.example:0443",
			"https://a.example:65536", "https://a.example:x", "https://user:hunter2@a.example", "https://@a.example",
			"ftp://a.example", "file:///a", "ws://a.example", "chrome-extension://abc", "https://a b.example", "https://a..example",
			"https://.example", "https://bücher.example", "https://a%41.example", "https://a%2e.example", "http://127.1", "http://0x7f.0.0.1",
			"http://1.2.3.4.5", "http://2130706433", "http://010.0.0.1", "http://[::0001]", "http://[fe80::1%25eth0]", "http://::1",
			"https://a.example\\b", "https://a.example;https://b.example", ",", " , ",
		} {
			for _, list := range []string{value, "https://ok.example," + value} {
				_, err := load(t, API, map[string]string{"CORS_ORIGINS": list})
				require.Equal(t, []string{"CORS_ORIGINS"}, variablesOf(err), "%q", list)
				require.NotContains(t, err.Error(), "hunter2")
			}
		}
		_, err := load(t, API, map[string]string{"CORS_ORIGINS": "https://ok.example,*"})
		require.ErrorContains(t, err, "CORS_ORIGINS has an entry, number 2, that is not valid; write each as browsers do")
	})

	t.Run("are those of this machine in development and test, while the list is empty", func(t *testing.T) {
		for env, want := range map[string]bool{"development": true, "test": true, "Development": true, "staging": false, "production": false, "": false} {
			h, err := load(t, API, map[string]string{"ENV": env})
			require.NoError(t, err)
			require.Equal(t, want, h.LocalOrigins, env)
			h, err = load(t, API, map[string]string{"ENV": env, "CORS_ORIGINS": "https://a.example"})
			require.NoError(t, err)
			require.False(t, h.LocalOrigins, env)
		}
		h, err := load(t, Standalone, nil)
		require.NoError(t, err)
		require.True(t, h.LocalOrigins)
		h, err = load(t, Consumer, map[string]string{"ENV": "test", "CORS_ORIGINS": "*", "TRUSTED_PROXIES": "*"})
		require.NoError(t, err, "the consumer serves no pages")
		require.False(t, h.LocalOrigins)
	})
}

func TestProxies(t *testing.T) {
	load := func(t *testing.T, value string) ([]netip.Prefix, error) {
		t.Helper()
		setenv(t, complete(), map[string]string{"TRUSTED_PROXIES": value})
		cfg, err := Load(API)
		return cfg.HTTP.Proxies, err
	}
	t.Run("are addresses and ranges", func(t *testing.T) {
		for value, want := range map[string]string{
			"":                              "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10",
			"none":                          "",
			"10.0.3.7":                      "10.0.3.7/32",
			"10.0.0.0/8, 2001:db8::1":       "10.0.0.0/8 2001:db8::1/128",
			"10.1.2.3/8,10.0.0.0/8":         "10.0.0.0/8",
			"::ffff:10.0.0.0/104,::1":       "10.0.0.0/8 ::1/128",
			"::ffff:10.0.0.1,fe80::1/64":    "10.0.0.1/32 fe80::/64",
			"fe80::1%eth0":                  "fe80::1/128",
			"fc00::/7 ,  172.16.0.0/12":     "fc00::/7 172.16.0.0/12",
			"192.168.0.0/16,192.168.0.0/16": "192.168.0.0/16",
		} {
			got, err := load(t, value)
			require.NoError(t, err, value)
			var texts []string
			for _, p := range got {
				texts = append(texts, p.String())
			}
			require.Equal(t, want, strings.Join(texts, " "), value)
		}
	})
	t.Run("are refused by name and number", func(t *testing.T) {
		for _, value := range []string{
			"*", "all", "proxy.local", "10.0.0.1:80", "10.0.0", "10.0.0.0/33", "10.0.0.0/", "/8", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96",
			"[::1]", "10.0.0.1 10.0.0.2", "10.0.0.0/8,", "none,10.0.0.1", "010.0.0.1", ",",
		} {
			_, err := load(t, value)
			require.Equal(t, []string{"TRUSTED_PROXIES"}, variablesOf(err), "%q", value)
		}
		_, err := load(t, "10.0.0.1,proxy")
		require.ErrorContains(t, err, "TRUSTED_PROXIES has an entry, number 2, that is not valid; write none, or each as an address or a range")
	})
}
