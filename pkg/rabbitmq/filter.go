package rabbitmq

import (
	"encoding/binary"
	"net"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"
)

// HeaderUnreadable is the only header of a delivery whose own headers the client library would refuse to read. Its value
// is the reason.
const HeaderUnreadable = "x-identity-unreadable"

const (
	frameHead = 7 // type, channel, size
	frameTail = 1 // the end octet

	frameHeader = 2 // the type of a content header
	// readAhead is what one read of the socket may bring.
	readAhead = 32 << 10
	// maxHeaderFrame bounds what is kept of one frame. The library refuses what is larger than the negotiated frame, 128
	// KiB unless the broker is set otherwise.
	maxHeaderFrame = 16 << 20
)

// headerFilter stands between the socket and the client library. The library closes its connection over a message whose
// headers it refuses, before anybody has its delivery tag: the broker hands the message out again, and every other
// message on the connection with it, for ever. headerFilter puts a table with only [HeaderUnreadable] in the place of
// such headers, so that the message can be set aside. Everything else passes as it is.
type headerFilter struct {
	net.Conn
	buf    []byte
	out    int   // buf[:out] has been handed out
	vetted int   // buf[out:vetted] may be handed out
	skip   int64 // what is left of a frame that passes without a look
	err    error // of the socket, reported once everything before it was handed out
}

func newHeaderFilter(c net.Conn) *headerFilter {
	return &headerFilter{Conn: c, buf: make([]byte, 0, readAhead)}
}

// Read implements net.Conn.
func (f *headerFilter) Read(p []byte) (int, error) {
	for f.out == f.vetted {
		if f.err != nil {
			return 0, f.err
		}
		f.fill()
	}
	n := copy(p, f.buf[f.out:f.vetted])
	f.out += n
	return n, nil
}

// fill reads once from the socket and looks at what has come.
func (f *headerFilter) fill() {
	left := copy(f.buf, f.buf[f.vetted:]) // the beginning of a frame
	f.out, f.vetted, f.buf = 0, 0, f.buf[:left]
	if left == cap(f.buf) {
		f.buf = slices.Grow(f.buf, left) // doubles: memory follows what has come, not what a frame announces
	} else if left == 0 && cap(f.buf) > maxHeaderFrame/16 {
		f.buf = make([]byte, 0, readAhead)
	}
	n, err := f.Conn.Read(f.buf[left:cap(f.buf)])
	f.buf = f.buf[:left+n]
	f.vet()
	if err != nil {
		f.err, f.vetted = err, len(f.buf)
	}
}

// vet advances vetted over every frame that is complete, and over those that need no look.
func (f *headerFilter) vet() {
	for f.vetted < len(f.buf) {
		rest := f.buf[f.vetted:]
		if f.skip > 0 {
			n := min(f.skip, int64(len(rest)))
			f.skip -= n
			f.vetted += int(n)
			continue
		}
		if len(rest) < frameHead {
			return
		}
		size := int64(binary.BigEndian.Uint32(rest[3:frameHead]))
		if rest[0] != frameHeader || size > maxHeaderFrame {
			f.skip = frameHead + size + frameTail
			continue
		}
		end := frameHead + int(size)
		if len(rest) < end+frameTail {
			return
		}
		if substitute := substituteFor(rest[frameHead:end]); substitute != nil {
			binary.BigEndian.PutUint32(rest[3:frameHead], uint32(len(substitute))) //nolint:gosec // G115: at most maxHeaderFrame and a marker
			f.buf = slices.Replace(f.buf, f.vetted+frameHead, f.vetted+end, substitute...)
			end = frameHead + len(substitute)
		}
		f.vetted += end + frameTail
	}
}

const (
	contentFixed = 14 // class, weight, body size, flags
	flagsAt      = 12

	flagHeaders = 0x2000
)

// properties are those of a content header, in their order on the wire, with their size; 0 is a short string.
var properties = []struct {
	flag uint16
	size int
}{
	{0x8000, 0}, // content type
	{0x4000, 0}, // content encoding
	{flagHeaders, -1},
	{0x1000, 1}, // delivery mode
	{0x0800, 1}, // priority
	{0x0400, 0}, // correlation id
	{0x0200, 0}, // reply to
	{0x0100, 0}, // expiration
	{0x0080, 0}, // message id
	{0x0040, 8}, // timestamp
	{0x0020, 0}, // type
	{0x0010, 0}, // user id
	{0x0008, 0}, // app id
	{0x0004, 0}, // reserved
}

// substituteFor returns what to put in the place of a content header's payload; nil when the library reads it as it is.
// It keeps the properties before and after the headers where they can be read.
func substituteFor(payload []byte) []byte {
	if len(payload) < contentFixed {
		return nil // no content header at all, which is the library's business
	}
	flags := binary.BigEndian.Uint16(payload[flagsAt:])
	at, tableAt, tableEnd := contentFixed, 0, 0
	var refusal string
	for _, p := range properties {
		if flags&p.flag == 0 {
			continue
		}
		if p.flag == flagHeaders {
			tableAt = at
			tableEnd, refusal = walkTable(payload, at)
			at = tableEnd
		} else {
			at = skipProperty(payload, at, p.size)
		}
		if at < 0 {
			return append(marker(payload[:flagsAt], flagHeaders), markerTable(unreadableProperties)...)
		}
	}
	if refusal == "" {
		return nil
	}
	substitute := append(slices.Clone(payload[:tableAt]), markerTable(refusal)...)
	return append(substitute, payload[tableEnd:]...)
}

// skipProperty returns where the property at ends, -1 when it is cut off.
func skipProperty(payload []byte, at, size int) int {
	if size == 0 {
		if at >= len(payload) {
			return -1
		}
		size = 1 + int(payload[at])
	}
	if at += size; at > len(payload) {
		return -1
	}
	return at
}

func marker(fixed []byte, flags uint16) []byte {
	return binary.BigEndian.AppendUint16(slices.Clone(fixed), flags)
}

func markerTable(reason string) []byte {
	entry := append([]byte{byte(len(HeaderUnreadable))}, HeaderUnreadable...)
	entry = append(entry, 'S')
	entry = binary.BigEndian.AppendUint32(entry, uint32(len(reason))) //nolint:gosec // G115: a constant of ours
	entry = append(entry, reason...)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(entry))), entry...) //nolint:gosec // G115: the same
}

// Unreadable returns why the library would not have read d's headers; "" when they are its own.
func Unreadable(d amqp.Delivery) string {
	reason, _ := d.Headers[HeaderUnreadable].(string)
	return reason
}
