package mailer

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// Inside the package, because no test can rely on an address that is not loopback: a pipe has none at all.
func TestCredentialsDoNotLeaveInClear(t *testing.T) {
	t.Parallel()
	m, err := New(Options{Host: "localhost", Port: 25, Username: "robot", Password: "secret", From: "a@example.com", TLS: TLSNone})
	require.NoError(t, err)
	client, server := net.Pipe()
	defer func() { _ = client.Close() }()
	sent := make(chan string, 1)
	go func() {
		_, _ = io.WriteString(server, "220 x\r\n")
		hello := make([]byte, 512)
		_, _ = server.Read(hello)
		_, _ = io.WriteString(server, "250-x\r\n250 AUTH PLAIN LOGIN\r\n")
		n, _ := server.Read(hello) // nothing but the end is expected
		sent <- string(hello[:n])
		_ = server.Close()
	}()

	verb, err := m.negotiate(&session{ctx: context.Background(), conn: client})
	require.Equal(t, verbAUTH, verb)
	require.ErrorContains(t, err, "only over TLS or to loopback")
	_ = client.Close()
	require.Empty(t, <-sent)
}

// The one case in which silence after DATA is not ambiguous. On a pipe nothing is buffered between the two sides, so
// the small mail and its dot are still here when the server leaves.
func TestADotThatNeverLeftIsNotAmbiguous(t *testing.T) {
	t.Parallel()
	m, err := New(Options{Host: "localhost", Port: 25, From: "a@example.com", TLS: TLSNone})
	require.NoError(t, err)
	client, server := net.Pipe()
	go func() {
		defer func() { _ = server.Close() }()
		_, _ = io.WriteString(server, "220 x\r\n")
		for in := bufio.NewScanner(server); in.Scan(); {
			if in.Text() == "DATA" {
				_, _ = io.WriteString(server, "354 go\r\n")
				return
			}
			_, _ = io.WriteString(server, "250 ok\r\n")
		}
	}()

	s := &session{ctx: context.Background(), conn: client, stop: func() bool { return true }}
	_, err = m.negotiate(s)
	require.NoError(t, err)
	var failed *Error
	require.NoError(t, s.envelope("a@example.com", "b@example.com", nil))
	require.ErrorAs(t, s.transfer([]byte("Subject: x\r\n\r\nx\r\n")), &failed)
	require.Equal(t, Temporary, failed.Class)
	require.Equal(t, verbContent, failed.Verb)
}

func TestTLSConfigIsCopiedAndRaised(t *testing.T) {
	t.Parallel()
	given := &tls.Config{MinVersion: tls.VersionTLS10}
	opts := Options{Host: "smtp.example.com", Port: 465, From: "a@example.com", TLS: TLSImplicit, TLSConfig: given}
	m, err := New(opts)
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS12, m.tls.MinVersion)
	require.Equal(t, "smtp.example.com", m.tls.ServerName)
	require.EqualValues(t, tls.VersionTLS10, given.MinVersion)
	require.Empty(t, given.ServerName)

	given.MinVersion = tls.VersionTLS13
	m, err = New(opts)
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS13, m.tls.MinVersion)
}
