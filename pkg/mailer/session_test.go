package mailer

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

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

// A small mail and its dot leave in one write, and how much of a failed one the server has seen is not known: under TLS
// not even this side's kernel knows.
func TestAFailedWriteWithTheDotIsAmbiguous(t *testing.T) {
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
	require.Nil(t, s.envelope("a@example.com", "b@example.com", nil))
	failed := s.transfer([]byte("Subject: x\r\n\r\nx\r\n"))
	require.Equal(t, Ambiguous, failed.Class)
	require.Equal(t, verbEndOfData, failed.Verb)
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

func TestPool(t *testing.T) {
	t.Parallel()
	enter := func(p *pool, bulk bool) error {
		ctx, cancel := context.WithCancel(context.Background())
		if cancel(); p.admits(bulk) {
			ctx = context.Background()
		}
		_, err := p.enter(ctx, bulk)
		return err
	}
	t.Run("a server that refuses every connection has shown no limit", func(t *testing.T) {
		t.Parallel()
		p := newPool(4)
		for range 4 {
			_, _ = p.enter(t.Context(), false)
		}
		for range 3 {
			require.True(t, p.crowded())
			p.leave(nil, false)
		}
		require.Equal(t, 1, p.limit)
		require.False(t, p.crowded())
		p.leave(nil, false)
		require.True(t, p.admits(true), "not even the batch stands still")
		p.until = p.until.Add(-2 * refusedFor)
		require.True(t, p.admits(true))
		require.Equal(t, 4, p.limit)
	})

	t.Run("a shown limit costs bulk its places first", func(t *testing.T) {
		t.Parallel()
		p := newPool(8)
		require.NoError(t, enter(p, false))
		require.NoError(t, enter(p, false))
		require.True(t, p.crowded(), "one other is open")
		p.leave(nil, false)
		require.Error(t, enter(p, true), "the other mail has it")
		require.Error(t, enter(p, false))
		p.leave(nil, false)
		require.NoError(t, enter(p, false))
		require.False(t, p.crowded(), "the only connection is refused: that is a refusal of us")
		p.until = p.until.Add(-2 * crowdedFor)
		require.NoError(t, enter(p, true), "more are tried again")
	})
	t.Run("a mail that waits has a place when the limit ends", func(t *testing.T) {
		t.Parallel()
		p := newPool(4)
		require.NoError(t, enter(p, false))
		require.NoError(t, enter(p, true))
		require.True(t, p.crowded())
		p.leave(nil, false) // the bulk mail hangs on the only place
		require.Error(t, enter(p, false))
		p.until = time.Now().Add(10 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), crowdedFor)
		defer cancel()
		_, err := p.enter(ctx, false)
		require.NoError(t, err)
	})
	t.Run("bulk waits while another mail does", func(t *testing.T) {
		t.Parallel()
		p := newPool(2)
		require.NoError(t, enter(p, true))
		require.Error(t, enter(p, true))
		require.NoError(t, enter(p, false))
		p.waiting++
		p.leave(nil, true)
		require.Error(t, enter(p, true))
		require.NoError(t, enter(p, false))
	})
}
