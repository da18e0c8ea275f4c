package eventtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// LongUp returns the URL of a proxy to the management API at managementURL that reports its broker as up for an hour. No
// test waits until a broker has been up for as long as its figures reach back.
func LongUp(t testing.TB, managementURL string) string {
	t.Helper()
	return Uptime(t, managementURL, "3600000")
}

// Uptime is LongUp for any time, in milliseconds.
func Uptime(t testing.TB, managementURL, uptime string) string {
	t.Helper()
	behind, err := url.Parse(managementURL)
	require.NoError(t, err)
	user := behind.User
	behind.User = nil
	proxy := httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Header.Del("Accept-Encoding") // compressed, it could not be read here
		},
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.URL.Path, "/api/nodes") || r.StatusCode != http.StatusOK {
				return nil
			}
			var nodes []map[string]any
			if err := json.NewDecoder(r.Body).Decode(&nodes); err != nil {
				return err
			}
			for _, n := range nodes {
				n["uptime"] = json.Number(uptime)
			}
			body, err := json.Marshal(nodes)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return err
		},
	}
	server := httptest.NewServer(&proxy)
	t.Cleanup(server.Close)
	front, err := url.Parse(server.URL)
	require.NoError(t, err)
	front.User = user
	return front.String()
}
