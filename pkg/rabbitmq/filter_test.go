package rabbitmq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/stretchr/testify/require"
)

// library is the client library on a connection to a server that sends what a test wants to be read.
type library struct {
	t       testing.TB
	server  net.Conn
	channel *amqp.Channel
}

// reads reports whether the library reads a message with this content header, and with which headers.
func (l *library) reads(payload []byte) (amqp.Table, bool) {
	l.t.Helper()
	if l.channel == nil {
		l.connect()
	}
	answered := make(chan error, 1)
	go func() {
		_, _, err := readFrame(l.server) // basic.get
		getOK := []byte{0, 60, 0, 71, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
		_, writing := l.server.Write(append(frame(1, 1, getOK), frame(frameHeader, 1, payload)...))
		answered <- errors.Join(err, writing)
	}()
	d, ok, err := l.channel.Get("q", true)
	if err != nil { // the library has ended the connection
		_ = l.server.Close()
		if err := <-answered; err != nil { // the connection may be gone before all is written
			require.ErrorIs(l.t, err, io.ErrClosedPipe)
		}
		l.channel = nil
		return nil, false
	}
	require.True(l.t, ok)
	require.NoError(l.t, <-answered)
	return d.Headers, true
}

// greet plays the server's part of a handshake, and then opens a channel.
func greet(client net.Conn) error {
	if err := welcome(client); err != nil {
		return err
	}
	if _, _, err := readFrame(client); err != nil { // channel.open
		return err
	}
	_, err := client.Write(frame(1, 1, []byte("\x00\x14\x00\x0b\x00\x00\x00\x00"))) // channel.open-ok
	return err
}

// welcome plays the server's part of a handshake.
func welcome(client net.Conn) error {
	_, err := io.ReadFull(client, make([]byte, 8)) // the protocol header
	for _, step := range []struct {
		say  []byte
		hear int // how many frames come back
	}{
		{[]byte("\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US"), 1}, // start
		{[]byte("\x00\x0a\x00\x1e\x00\x0a\x00\x80\x00\x00\x00\x00"), 2},                                   // tune; tune-ok, open
		{[]byte("\x00\x0a\x00\x29\x00"), 0},                                                               // open-ok
	} {
		if err == nil {
			_, err = client.Write(frame(1, 0, step.say))
		}
		for range step.hear {
			if err == nil {
				_, _, err = readFrame(client)
			}
		}
	}
	return err
}

// connect connects the library to a server that is played.
func (l *library) connect() {
	ours, theirs := net.Pipe()
	l.server = theirs
	played := make(chan error, 1)
	go func() { played <- greet(theirs) }()
	conn, err := amqp.Open(ours, amqp.Config{
		SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "u", Password: "p"}}, Vhost: "/", Locale: "en_US", FrameSize: 8 << 20,
	})
	require.NoError(l.t, err)
	l.channel, err = conn.Channel()
	require.NoError(l.t, err)
	require.NoError(l.t, <-played)
	l.t.Cleanup(func() { _ = theirs.Close() })
}

func readFrame(r io.Reader) (kind byte, payload []byte, err error) {
	head := make([]byte, frameHead)
	if _, err = io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, binary.BigEndian.Uint32(head[3:])+frameTail)
	_, err = io.ReadFull(r, payload)
	return head[0], payload, err
}

func frame(kind byte, channel uint16, payload []byte) []byte {
	f := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(len(payload)))
	return append(append(f, payload...), 0xce)
}

// content returns a content header of an empty message.
func content(flags uint16, rest ...[]byte) []byte {
	fixed := []byte{0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	return append(binary.BigEndian.AppendUint16(fixed, flags), bytes.Join(rest, nil)...)
}

func sized(b []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }

func short(s string) []byte { return append([]byte{byte(len(s))}, s...) }

// nested returns a table with tables, or arrays, in each other so many levels deep.
func nested(levels int, kind byte) []byte {
	var inner []byte
	for level := range levels {
		inner = append([]byte{kind}, sized(inner)...)
		if kind == 'F' || level == levels-1 { // what is in an array has no name
			inner = append(short("k"), inner...)
		}
	}
	return sized(inner)
}

// wide returns a table with so many entries, or with an array of so many elements.
func wide(entries int, array bool) []byte {
	var b []byte
	for i := range entries {
		if !array {
			b = append(b, 2, byte(i>>8), byte(i))
		}
		b = append(b, 'V')
	}
	if array {
		b = append(append(short("k"), 'A'), sized(b)...)
	}
	return sized(b)
}

func TestSubstitute(t *testing.T) {
	t.Parallel()
	before, after := append(short("application/json"), short("gzip")...), append([]byte{2}, short("evt_1")...)
	const flags = 0x8000 | 0x4000 | flagHeaders | 0x1000 | 0x0080
	lib := &library{t: t}
	for name, test := range map[string]struct {
		table  []byte
		reason string // empty: the library reads it
	}{
		"no headers":               {sized(nil), ""},
		"every kind of value":      {sized([]byte("\x01at\x01\x01bB\x01\x01cb\x01\x01ds\x01\x01\x01eI\x01\x01\x01\x01\x01fV\x01gD\x01\x01\x01\x01\x01\x01hS\x00\x00\x00\x01s\x01ix\x00\x00\x00\x01x")), ""},
		"tables 32 deep":           {nested(32, 'F'), ""},
		"tables 33 deep":           {nested(33, 'F'), tooDeep},
		"tables 40 deep":           {nested(40, 'F'), tooDeep},
		"tables 10,000 deep":       {nested(10_000, 'F'), tooDeep},
		"arrays 32 deep":           {nested(32, 'A'), ""},
		"arrays 33 deep":           {nested(33, 'A'), tooDeep},
		"8,192 entries":            {wide(8192, false), ""},
		"8,193 entries":            {wide(8193, false), tooMany},
		"9,000 times the same key": {sized(bytes.Repeat([]byte("\x01kV"), 9000)), ""},
		"an array of 8,192":        {wide(8192, true), ""},
		"an array of 8,193":        {wide(8193, true), tooMany},
		"an unknown kind of value": {sized([]byte("\x01kZ")), malformed},
		"a key cut off":            {sized([]byte("\x05k")), malformed},
		"a value cut off":          {sized([]byte("\x01kl\x00")), malformed},
		"a negative size":          {sized([]byte("\x01kx\xff\xff\xff\xff")), malformed},
		"an array that ends early": {sized([]byte("\x01kA\x00\x00\x00\x40t")), ""},
		"a cut table in an array":  {sized([]byte("\x01kA\x00\x00\x00\x40F\x00\x00\x00\x03\x01at\x01kV")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			payload := content(flags, before, test.table, after)
			substitute := substituteFor(payload)
			_, ok := lib.reads(payload)
			require.Equal(t, test.reason == "", ok, "what the library does")
			if ok {
				require.Nil(t, substitute)
				return
			}
			require.Equal(t, content(flags, before, markerTable(test.reason), after), substitute, "the other properties stay")
			headers, ok := lib.reads(substitute)
			require.True(t, ok)
			require.Equal(t, amqp.Table{HeaderUnreadable: test.reason}, headers)
		})
	}
	t.Run("properties that are cut off", func(t *testing.T) {
		payload := content(flags, before, sized(nil), []byte{2, 200, 'x'})
		_, ok := lib.reads(payload)
		require.False(t, ok)
		headers, ok := lib.reads(substituteFor(payload))
		require.True(t, ok)
		require.Equal(t, amqp.Table{HeaderUnreadable: unreadableProperties}, headers)
	})
}

// agrees checks that the filter substitutes what the library refuses, and nothing else.
func agrees(t testing.TB, lib *library, payload []byte) {
	t.Helper()
	substitute := substituteFor(payload)
	_, ok := lib.reads(payload)
	require.Equal(t, ok, substitute == nil, "%x", payload)
	if !ok {
		headers, ok := lib.reads(substitute)
		require.True(t, ok, "%x", payload)
		require.Contains(t, headers, HeaderUnreadable)
	}
}

// arbitrary returns a table that is mostly well formed.
func arbitrary(r *rand.Rand, depth int) []byte {
	var b []byte
	for range r.IntN(5) {
		b = append(append(b, short(strings.Repeat("k", r.IntN(4)))...), arbitraryValue(r, depth)...)
	}
	if r.IntN(12) == 0 && len(b) > 0 {
		b = b[:r.IntN(len(b))]
	}
	if r.IntN(12) == 0 && len(b) > 0 {
		b[r.IntN(len(b))] = byte(r.Uint32())
	}
	return b
}

func arbitraryValue(r *rand.Rand, depth int) []byte {
	const kinds = "tBbsIlufidDSxVTAFAFAF"
	kind := kinds[r.IntN(len(kinds))]
	b := []byte{kind}
	sizes, _ := fixedSize(kind)
	for _, n := range sizes {
		b = append(b, make([]byte, n)...)
	}
	if !strings.ContainsRune("SxAF", rune(kind)) {
		return b
	}
	var inner []byte
	switch {
	case kind == 'S' || kind == 'x':
		inner = make([]byte, r.IntN(4))
	case depth > 40:
	case kind == 'F':
		inner = arbitrary(r, depth+1)
	default:
		for range r.IntN(4) {
			inner = append(inner, arbitraryValue(r, depth+1)...)
		}
	}
	b = append(b, sized(inner)...)
	if r.IntN(8) == 0 { // a length that is not the truth
		b[4] = byte(r.Uint32())
	}
	return b
}

func TestSubstituteAgreesWithTheLibrary(t *testing.T) {
	t.Parallel()
	lib, r, refused := &library{t: t}, rand.New(rand.NewPCG(1, 2)), 0
	for range 20_000 {
		payload := content(flagHeaders, sized(arbitrary(r, 0)))
		agrees(t, lib, payload)
		if substituteFor(payload) != nil {
			refused++
		}
	}
	require.Greater(t, refused, 500)
}

func FuzzSubstitute(f *testing.F) {
	f.Add(uint16(flagHeaders), nested(40, 'F'))
	f.Add(uint16(flagHeaders), nested(40, 'A'))
	f.Add(uint16(0xffff), wide(20, true))
	f.Add(uint16(flagHeaders), sized([]byte("\x01kA\x00\x00\x00\x40F\x00\x00\x00\x03\x01at\x01kV")))
	f.Fuzz(func(t *testing.T, flags uint16, rest []byte) {
		agrees(t, &library{t: t}, content(flags, rest))
	})
}

// source is a connection that yields what a reader does.
type source struct {
	net.Conn
	io.Reader
}

func (s source) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func TestHeaderFilter(t *testing.T) {
	t.Parallel()
	method, body := frame(1, 1, []byte("method")), frame(3, 1, bytes.Repeat([]byte("b"), 100_000))
	good, bad := content(flagHeaders, nested(5, 'F')), content(flagHeaders, nested(40, 'F'))
	large := content(flagHeaders, sized(append(append(short("k"), 'S'), sized(make([]byte, 120_000))...)))
	little := content(flagHeaders, sized([]byte("\x01kZ"))) // its substitute is larger
	in := bytes.Join([][]byte{
		method, frame(2, 1, good), body, method, frame(2, 1, bad), method, frame(2, 7, large), frame(8, 0, nil),
		frame(2, 1, little), frame(2, 1, bad), body, method[:5],
	}, nil)
	want := bytes.Join([][]byte{
		method, frame(2, 1, good), body, method, frame(2, 1, content(flagHeaders, markerTable(tooDeep))), method,
		frame(2, 7, large), frame(8, 0, nil), frame(2, 1, content(flagHeaders, markerTable(malformed))),
		frame(2, 1, content(flagHeaders, markerTable(tooDeep))), body, method[:5],
	}, nil)
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"whole":         func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"by halves":     iotest.HalfReader,
		"data with EOF": iotest.DataErrReader,
	} {
		t.Run("passes on what the library reads, split "+name, func(t *testing.T) {
			t.Parallel()
			got, err := io.ReadAll(newHeaderFilter(source{Reader: cut(bytes.NewReader(in))}))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		})
	}
	t.Run("passes on what is no AMQP", func(t *testing.T) {
		t.Parallel()
		for _, in := range []string{"", "A", "AMQP\x00\x00\x09\x01", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x02\x00\x01\xff\xff\xff\xffxyz"} {
			got, err := io.ReadAll(newHeaderFilter(source{Reader: strings.NewReader(in)}))
			require.NoError(t, err)
			require.Equal(t, in, string(got))
		}
	})
	t.Run("reports the socket's error after what came before it", func(t *testing.T) {
		t.Parallel()
		got, err := io.ReadAll(newHeaderFilter(source{Reader: io.MultiReader(bytes.NewReader(method), iotest.ErrReader(net.ErrClosed))}))
		require.ErrorIs(t, err, net.ErrClosed)
		require.Equal(t, method, got)
	})
}

// BenchmarkHeaderFilter compares reading with and without the filter, per message of usual size.
func BenchmarkHeaderFilter(b *testing.B) {
	headers := sized([]byte("\x0btraceparentS\x00\x00\x00\x3700-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	message := bytes.Join([][]byte{
		frame(1, 1, make([]byte, 60)), frame(2, 1, content(flagHeaders|0x1000|0x0080, headers, []byte{2}, short("evt_1"))),
		frame(3, 1, make([]byte, 400)),
	}, nil)
	stream := bytes.Repeat(message, 1000)
	for name, read := range map[string]func(net.Conn) io.Reader{
		"without": func(c net.Conn) io.Reader { return c },
		"with":    func(c net.Conn) io.Reader { return newHeaderFilter(c) },
	} {
		b.Run(name, func(b *testing.B) {
			p := make([]byte, 4096)
			for n := 0; n < b.N; n += 1000 {
				r := read(source{Reader: bytes.NewReader(stream)})
				for {
					if _, err := r.Read(p); err != nil {
						break
					}
				}
			}
		})
	}
}
