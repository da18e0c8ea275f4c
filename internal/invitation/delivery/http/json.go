package http

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/smap-platform/identity/pkg/verbatim"
)

// errNotVerbatim is the error for JSON of which a decoder would replace bytes.
var errNotVerbatim = unusable("is not UTF-8, or escapes half of a surrogate pair")

// errNoList is the error for JSON that is something else than a list of strings.
var errNoList = unusable("is not one JSON list of strings")

// parseJSON reads a list of strings; the line is the element's number. A number, true, false or null in it is a line that
// is no address. A list or an object in it is errNoList, and so is everything that is not JSON.
func parseJSON(r *bufio.Reader, fn func(line int, address string) error) error {
	d := json.NewDecoder(&abridged{r: r})
	d.UseNumber()
	if token, err := d.Token(); err != nil || token != json.Delim('[') {
		return asNoList(err)
	}
	for line := 1; ; line++ {
		token, err := d.Token()
		if err != nil {
			return asNoList(err)
		}
		address := fmt.Sprint(token)
		switch token {
		case json.Delim('['), json.Delim('{'):
			return errNoList
		case json.Delim(']'):
			if _, err := d.Token(); !errors.Is(err, io.EOF) {
				return asNoList(err)
			}
			return nil
		case nil:
			address = "null"
		}
		if err := fn(line, address); err != nil {
			return err
		}
	}
}

// asNoList returns the reader's own errors, and errNoList for those of the decoder.
func asNoList(err error) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	if err == nil || syntax || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errNoList
	}
	return err
}

// abridged reads JSON and leaves out what a decoder would have to hold in memory: all of a string behind keptBytes
// characters, and all but one of adjacent spaces. It refuses other values of that length.
type abridged struct {
	r      *bufio.Reader
	quoted bool // in a string
	spaced bool // behind a space
	length int  // of the string or other value so far
	escape int  // bytes of an escape that are still to come
	begun  bool // the next byte is the first behind a backslash
	text   verbatim.Checker
	err    error // ends it for good: the decoder overlooks one that comes with a byte it has waited for
}

// Read implements [io.Reader].
func (a *abridged) Read(p []byte) (n int, err error) {
	for n < len(p) && a.err == nil {
		b, err := a.r.ReadByte()
		switch {
		case err != nil:
			a.err = err
		case !a.text.Add(b):
			a.err = errNotVerbatim
		case a.keep(b):
			p[n] = b
			n++
		}
	}
	return n, a.err
}

// keep reports whether to keep a byte. It sets a.err for a value that is too long and no string, and for what no string of
// JSON has: the decoder does not see all of it.
func (a *abridged) keep(b byte) bool {
	if a.quoted {
		return a.inside(b)
	}
	keep := a.outside(b)
	if a.length > keptBytes {
		a.err = errNoList
		return false
	}
	return keep
}

// inside reports whether to keep a byte of a string. The bytes of an escape count as one.
func (a *abridged) inside(b byte) bool {
	switch {
	case a.escape > 0:
		a.escape--
		if a.begun {
			a.begin(b)
		}
		return a.length <= keptBytes
	case b == '"':
		a.quoted, a.length = false, 0
		return true
	case b < ' ':
		a.err = errNoList
	case b == '\\':
		a.escape, a.begun = 1, true
	}
	a.length++
	return a.length <= keptBytes
}

// begin reads the byte behind a backslash.
func (a *abridged) begin(b byte) {
	a.begun = false
	switch b {
	case 'u':
		a.escape = 4
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
	default:
		a.err = errNoList
	}
}

// outside reports whether to keep a byte that is in no string.
func (a *abridged) outside(b byte) bool {
	before := a.spaced
	a.spaced = false
	switch b {
	case ' ', '\t', '\n', '\r':
		a.spaced, a.length = true, 0
		return !before
	case '"':
		a.quoted, a.length = true, 0
	case '[', ']', '{', '}', ',', ':':
		a.length = 0
	default:
		a.length++
	}
	return true
}
