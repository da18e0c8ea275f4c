package http

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseCSV reads the first column of a table (RFC 4180): fields may be quoted, lines end with LF, CRLF or CR. It skips a
// byte order mark, blank lines, and a first line that says "email" or "address".
//
// encoding/csv gets one bounded line at a time. Given the whole table, it would hold a field of 16 MiB in memory several
// times, and read everything behind a quote that is not closed as one field. An address has no line break, so a quoted
// one ends at the latest with its line.
func parseCSV(r *bufio.Reader, fn func(line int, address string) error) error {
	if mark, _ := r.Peek(3); string(mark) == "\uFEFF" {
		_, _ = r.Discard(3)
	}
	t := newTable(r)
	for first := true; ; {
		line := t.line
		address, blank, err := t.record()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if blank {
			continue
		}
		header := first && isHeader(address)
		first = false
		if header {
			continue
		}
		if err := fn(line, address); err != nil {
			return err
		}
	}
}

func isHeader(field string) bool {
	field = strings.TrimSpace(field)
	return strings.EqualFold(field, "email") || strings.EqualFold(field, "e-mail") || strings.EqualFold(field, "address")
}

// table cuts a CSV into records.
type table struct {
	r      *bufio.Reader
	line   int // of the next byte
	kept   []byte
	one    bytes.Reader // what is kept of one record
	fields *csv.Reader  // of one
}

func newTable(r *bufio.Reader) *table {
	t := &table{r: r, line: 1, kept: make([]byte, 0, keptBytes)}
	t.fields = csv.NewReader(&t.one)
	t.fields.FieldsPerRecord = -1
	t.fields.LazyQuotes = true
	t.fields.ReuseRecord = true
	return t
}

// next returns a byte, and every end of line as '\n'.
func (t *table) next() (byte, error) {
	b, err := t.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if b == '\r' {
		if following, _ := t.r.Peek(1); len(following) == 1 && following[0] == '\n' {
			_, _ = t.r.Discard(1)
		}
		b = '\n'
	}
	if b == '\n' {
		t.line++
	}
	return b, nil
}

// record reads one record and returns its first field. blank reports whether it is an empty line. record returns io.EOF
// behind the last one.
func (t *table) record() (address string, blank bool, err error) {
	if err := t.keep(); err != nil {
		return "", false, err
	}
	t.one.Reset(t.kept)
	record, err := t.fields.Read()
	if errors.Is(err, io.EOF) {
		return "", true, nil
	}
	if err != nil { // no line is an error to a reader with LazyQuotes
		return "", false, err
	}
	blank = len(record) == 1 && t.kept[0] != '"' && strings.TrimSpace(record[0]) == ""
	return strings.Clone(record[0]), blank, nil
}

// keep reads one record, and keeps the beginning of its first line. A line break in quotes does not end it, unless the
// quotes are those of the first field.
func (t *table) keep() error {
	const (
		start  = iota // of a field
		plain         // in a field without quotes
		quoted        // in quotes
		closed        // behind a quote that closes, or is the first of a doubled one
		padded        // behind a closed quote and spaces, which are not kept
	)
	t.kept = t.kept[:0]
	state, first, firstLine := start, true, t.line
	for read := 0; ; read++ {
		b, err := t.next()
		switch {
		case errors.Is(err, io.EOF) && state == quoted && !first:
			return unusable(fmt.Sprintf("has a quote in line %d that is not closed", firstLine))
		case errors.Is(err, io.EOF) && read > 0:
			return nil // the last line needs no end
		case err != nil:
			return err
		case b == '\n' && (state != quoted || first):
			return nil
		}
		if b == ' ' && (state == closed || state == padded) {
			state = padded
			continue
		}
		if t.line == firstLine && len(t.kept) < keptBytes {
			t.kept = append(t.kept, b)
		}
		switch {
		case state == quoted && b == '"':
			state = closed
		case state == quoted:
		case b == ',':
			state, first = start, false
		case b == '"' && (state == start || state == closed):
			state = quoted
		default:
			state = plain
		}
	}
}
