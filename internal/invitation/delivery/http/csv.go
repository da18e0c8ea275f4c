package http

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxHeader is how much of a table decides what separates its columns, and how much of its first line is kept.
const maxHeader = 4 << 10

// parseCSV reads the addresses of a table (RFC 4180) in UTF-8 or, with a byte order mark, UTF-16. Columns are separated by
// commas, semicolons or tabs, as the first line is; fields may be quoted; lines end with LF, CRLF or CR. The addresses are
// in the column whose header is one of [isHeader], else in the first. It skips a byte order mark and blank lines.
//
// encoding/csv gets one bounded field at a time. Given the whole table, it would hold a field of 16 MiB in memory several
// times, and read everything behind a quote that is not closed as one field. An address has no line break, so a quoted
// one ends at the latest with its line.
func parseCSV(r *bufio.Reader, fn func(line int, address string) error) error {
	decoded, err := asUTF8(r)
	if err != nil {
		return err
	}
	t := newTable(bufio.NewReaderSize(decoded, maxHeader))
	for first := true; ; {
		line := t.line
		fields, err := t.record()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if t.blank {
			continue
		}
		if first {
			first = false
			column := header(fields)
			t.column = max(0, column)
			if column >= 0 {
				continue
			}
		}
		if err := fn(line, fields[0]); err != nil {
			return err
		}
	}
}

// headers are the names of the column with the addresses, the surest first: an address may be a postal one.
var headers = []string{"email", "e-mail", "email address", "e-mail address", "mail", "address"}

// header returns the column with the addresses; -1 when the fields are no header line.
func header(fields []string) int {
	for _, name := range headers {
		named := func(field string) bool { return strings.EqualFold(strings.TrimSpace(field), name) }
		if i := slices.IndexFunc(fields, named); i >= 0 {
			return i
		}
	}
	return -1
}

// table cuts a CSV into records.
type table struct {
	r      *bufio.Reader
	line   int  // of the next byte
	comma  byte // separates the columns
	column int  // that is kept; -1: every one, for the first record
	kept   []byte
	blank  bool         // the record is nothing but white space and separators
	one    bytes.Reader // what is kept of one record
	fields *csv.Reader  // of one
}

// newTable finds out what separates the columns: what Excel's line "sep=;" says, or what is most frequent in the first
// line that is not blank.
func newTable(r *bufio.Reader) *table {
	t := &table{r: r, line: 1, column: -1, kept: make([]byte, 0, maxHeader)}
	beginning, _ := r.Peek(maxHeader)
	head, _, _ := strings.Cut(strings.TrimLeft(strings.ReplaceAll(string(beginning), "\r", "\n"), "\n \t"), "\n")
	if said, ok := strings.CutPrefix(head, "sep="); ok && len(said) == 1 && strings.Contains(separators, said) {
		t.comma = said[0]
		for t.blank = true; t.blank; { // up to that line
			if t.keep() != nil {
				break
			}
		}
	} else {
		t.comma = separatorOf(head)
	}
	t.fields = csv.NewReader(&t.one)
	t.fields.Comma = rune(t.comma)
	t.fields.FieldsPerRecord = -1
	t.fields.LazyQuotes = true
	t.fields.ReuseRecord = true
	return t
}

const separators = ",;\t"

// separatorOf returns the separator that is most frequent in line outside quotes, a comma where there is none.
func separatorOf(line string) byte {
	counts, quoted := map[rune]int{}, false
	best := ','
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted && strings.ContainsRune(separators, c) {
			if counts[c]++; counts[c] > counts[best] {
				best = c
			}
		}
	}
	return byte(best)
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

// record reads one record and returns its fields, or the field of t.column alone. It returns io.EOF behind the last one.
func (t *table) record() ([]string, error) {
	if err := t.keep(); err != nil {
		return nil, err
	}
	t.one.Reset(t.kept)
	fields, err := t.fields.Read()
	if errors.Is(err, io.EOF) {
		return []string{""}, nil
	}
	if err != nil { // no line is an error to a reader with LazyQuotes
		return nil, err
	}
	for i, field := range fields {
		fields[i] = strings.Clone(field[:min(len(field), keptBytes)])
	}
	return fields, nil
}

// keep reads one record, and keeps the beginning of t.column, or of the first line. A line break in quotes does not end it,
// unless the quotes are those of the addresses.
func (t *table) keep() error {
	const (
		start  = iota // of a field
		plain         // in a field without quotes
		quoted        // in quotes
		closed        // behind a quote that closes, or is the first of a doubled one
		padded        // behind a closed quote and spaces, which are not kept
	)
	t.kept, t.blank = t.kept[:0], true
	limit := keptBytes
	if t.column < 0 {
		limit = maxHeader
	}
	state, field, firstLine := start, 0, t.line
	for read := 0; ; read++ {
		b, err := t.next()
		switch {
		case errors.Is(err, io.EOF) && state == quoted && field != max(t.column, 0):
			return unusable(fmt.Sprintf("has a quote in line %d that is not closed", firstLine))
		case errors.Is(err, io.EOF) && read > 0:
			return nil // the last line needs no end
		case err != nil:
			return err
		case b == '\n' && (state != quoted || field == max(t.column, 0)):
			return nil
		}
		if b == ' ' && (state == closed || state == padded) {
			state = padded
			continue
		}
		separates := state != quoted && b == t.comma
		t.blank = t.blank && (separates || b == ' ' || b == '\t' || b == '\n')
		ours := t.column < 0 && t.line == firstLine || field == t.column && !separates
		if ours && len(t.kept) < limit {
			t.kept = append(t.kept, b)
		}
		switch {
		case state == quoted && b == '"':
			state = closed
		case state == quoted:
		case separates:
			state = start
			field++
		case b == '"' && (state == start || state == closed):
			state = quoted
		default:
			state = plain
		}
	}
}
