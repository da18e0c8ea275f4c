package http

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseCSV reads the first column of a table (RFC 4180): fields may be quoted, lines end with LF, CRLF or CR, a byte order
// mark and blank lines are passed over, and so is a first line that says "email" or "address".
//
// encoding/csv would hold a field of 16 MiB in memory several times, and take everything behind a quote that is not closed
// for one field. An address has no line break, so a quoted one ends at the latest with its line.
func parseCSV(r *bufio.Reader, found func(line int, address string) error) error {
	if mark, _ := r.Peek(3); string(mark) == "\uFEFF" {
		_, _ = r.Discard(3)
	}
	t := table{r: r, line: 1}
	for first := true; ; {
		at := t.line
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
		if err := found(at, address); err != nil {
			return err
		}
	}
}

func isHeader(field string) bool {
	field = strings.TrimSpace(field)
	return strings.EqualFold(field, "email") || strings.EqualFold(field, "e-mail") || strings.EqualFold(field, "address")
}

// table reads a CSV byte by byte.
type table struct {
	r    *bufio.Reader
	line int // of the next byte
}

// next answers a byte, every end of line as '\n'.
func (t *table) next() (byte, error) {
	b, err := t.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if b == '\r' {
		t.another('\n')
		b = '\n'
	}
	if b == '\n' {
		t.line++
	}
	return b, nil
}

// another tells whether the next byte is b, and then passes over it.
func (t *table) another(b byte) bool {
	next, _ := t.r.Peek(1)
	if len(next) == 0 || next[0] != b {
		return false
	}
	_, _ = t.r.Discard(1)
	return true
}

// record reads one line of the table, which can be several of the text, and answers its first field. blank tells that there
// is nothing in it. io.EOF when there is none.
func (t *table) record() (first string, blank bool, err error) {
	b, err := t.next()
	if err != nil {
		return "", false, err
	}
	var field []byte
	quoted := b == '"'
	if quoted {
		field, b, err = t.quotedField()
	} else {
		for ; err == nil && b != ',' && b != '\n'; b, err = t.next() {
			field = keep(field, b)
		}
	}
	blank = !quoted && b != ',' && strings.TrimSpace(string(field)) == ""
	if err == nil && b == ',' {
		err = t.skipRest()
	}
	if errors.Is(err, io.EOF) {
		err = nil // the last line needs no end
	}
	return string(field), blank, err
}

// quotedField reads a first field behind its opening quote, and answers the byte behind it: a comma or the end of the line.
func (t *table) quotedField() (field []byte, b byte, err error) {
	open := true
	for {
		if b, err = t.next(); err != nil || b == '\n' || !open && b == ',' {
			return field, b, err
		}
		if open && b == '"' && !t.another('"') {
			open = false
			continue
		}
		field = keep(field, b) // what stands between the closing quote and the comma makes it no address
	}
}

// skipRest passes over the other fields of a line. A line break in quotes does not end it.
func (t *table) skipRest() error {
	begun := t.line
	open, atStart := false, true
	for {
		b, err := t.next()
		switch {
		case errors.Is(err, io.EOF) && open:
			return unusable(fmt.Sprintf("has a quote in line %d that is not closed", begun))
		case err != nil:
			return err
		case b == '\n' && !open:
			return nil
		case open:
			open = b != '"' || t.another('"')
		default:
			open = atStart && b == '"'
			atStart = b == ','
		}
	}
}

// keep appends b unless there is more than enough already.
func keep(field []byte, b byte) []byte {
	if len(field) < keptBytes {
		field = append(field, b)
	}
	return field
}
