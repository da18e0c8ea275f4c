package mailer_test

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// stopReading replies to DATA, reads one line of the content and leaves the rest in the connection, which it hands
// over.
const stopReading = "stop reading"

// peculiar serves one connection with fixed replies: "" is the greeting, "." the final dot, the rest are verbs.
type peculiar struct {
	port   int
	handed chan net.Conn // by stopReading
	lines  chan string   // every command, closed at the end
}

func startPeculiar(t *testing.T, answers map[string]string) *peculiar {
	t.Helper()
	all := map[string]string{
		"": "220 peculiar", "EHLO": "250 peculiar", "HELO": "250 peculiar", "MAIL": "250 ok", "RCPT": "250 ok",
		"DATA": "354 go", ".": "250 ok", "QUIT": "221 bye", "AUTH": "235 ok",
	}
	for verb, answer := range answers {
		all[verb] = answer
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &peculiar{
		port:   listener.Addr().(*net.TCPAddr).Port,
		handed: make(chan net.Conn, 1),
		lines:  make(chan string, 64),
	}
	ended := make(chan struct{})
	var conn net.Conn
	go func() {
		defer close(ended)
		defer close(p.lines)
		if conn, err = listener.Accept(); err == nil {
			p.serve(conn, all)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		if conn != nil {
			_ = conn.Close()
		}
	})
	return p
}

func (p *peculiar) serve(conn net.Conn, answers map[string]string) {
	in := bufio.NewScanner(conn)
	say := func(text string) { _, _ = conn.Write([]byte(text + "\r\n")) }
	say(answers[""])
	inData := false
	for in.Scan() {
		line := in.Text()
		verb, _, _ := strings.Cut(line, " ")
		if inData {
			if verb != "." {
				continue
			}
		}
		p.lines <- line
		if answers[verb] == stopReading {
			say("354 go")
			in.Scan()
			p.handed <- conn
			return
		}
		say(answers[verb])
		inData = verb == "DATA" && strings.HasPrefix(answers[verb], "354")
		if verb == "QUIT" {
			_ = conn.Close()
			return
		}
	}
	_ = conn.Close()
}
