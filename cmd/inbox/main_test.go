package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestRun(t *testing.T) {
	t.Parallel()
	t.Run("serves until it is stopped", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		out, stdout := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, env(map[string]string{"SMTP_PORT": "0", "INBOX_PORT": "0"}), stdout, io.Discard)
		}()

		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		found := regexp.MustCompile(`^inbox: mail to smtp://(127\.0\.0\.1:\d+), read it at (http://127\.0\.0\.1:\d+)\n$`).FindStringSubmatch(line)
		require.NotNil(t, found, line)
		require.NoError(t, smtp.SendMail(found[1], nil, "a@example.com", []string{"b@example.com"}, []byte("Subject: hi\r\n\r\nx\r\n")))
		response, err := http.Get(found[2] + "/api/messages?to=b@example.com")
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Contains(t, string(body), `"subject":"hi"`)

		cancel()
		require.NoError(t, <-done)
	})

	t.Run("names the variables when it cannot listen", func(t *testing.T) {
		t.Parallel()
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = taken.Close() }()
		_, port, err := net.SplitHostPort(taken.Addr().String())
		require.NoError(t, err)
		for name, values := range map[string]map[string]string{
			"taken":     {"SMTP_PORT": "0", "INBOX_PORT": port},
			"no number": {"SMTP_PORT": "x", "INBOX_PORT": "0"},
			"no host":   {"HOST": "256.0.0.1", "SMTP_PORT": "0", "INBOX_PORT": "0"},
		} {
			err := run(context.Background(), env(values), io.Discard, io.Discard)
			require.ErrorContains(t, err, "HOST, SMTP_PORT and INBOX_PORT set the addresses", name)
		}
	})
}
