package http

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
)

// errNoList is answered for JSON that is something else than a list of texts.
var errNoList = unusable("is not one JSON list of strings")

// parseJSON reads a list of strings; the line is the element's number. A number, true, false or null in it is a line that is
// no address; a list or an object in it is errNoList, and so is everything that is not JSON.
//
// encoding/json would hold a string of 16 MiB in memory several times.
func parseJSON(r *bufio.Reader, found func(line int, address string) error) error {
	l := list{r}
	if b, err := l.next(); err != nil || b != '[' {
		return noList(err)
	}
	b, err := l.next()
	if err != nil {
		return noList(err)
	}
	for line := 1; b != ']'; line++ {
		address, err := l.element(b)
		if err != nil {
			return noList(err)
		}
		if err := found(line, address); err != nil {
			return err
		}
		if b, err = l.next(); err != nil || b != ',' && b != ']' {
			return noList(err)
		}
		if b == ',' {
			if b, err = l.next(); err != nil || b == ']' {
				return noList(err)
			}
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) {
		return noList(err)
	}
	return nil
}

// noList lets the reader's own errors through.
func noList(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errNoList
	}
	return err
}

type list struct{ r *bufio.Reader }

// next answers the next byte that is not white space.
func (l list) next() (byte, error) {
	for {
		b, err := l.r.ReadByte()
		if err != nil || b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b, err
		}
	}
}

// element reads the element that begins with b.
func (l list) element(b byte) (string, error) {
	switch b {
	case '"':
		return l.text()
	case '{', '[':
		return "", errNoList
	}
	raw := []byte{b}
	for {
		next, err := l.r.Peek(1)
		if err != nil {
			return "", err
		}
		switch next[0] {
		case ',', ']', ' ', '\t', '\n', '\r':
			var value any
			if json.Unmarshal(raw, &value) != nil {
				return "", errNoList
			}
			return string(raw), nil
		}
		if raw = keep(raw, next[0]); len(raw) == keptBytes {
			return "", errNoList
		}
		_, _ = l.r.Discard(1)
	}
}

// text reads a string behind its opening quote. Of one that is too long for an address only the beginning is looked at.
func (l list) text() (string, error) {
	raw := []byte{'"'}
	escaped := false
	for {
		b, err := l.r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '"' && !escaped {
			break
		}
		escaped = b == '\\' && !escaped
		raw = keep(raw, b)
	}
	var text string
	if len(raw) == keptBytes {
		return beginning(raw), nil
	}
	if json.Unmarshal(append(raw, '"'), &text) != nil {
		return "", errNoList
	}
	return text, nil
}

// beginning answers what can be read of a string that was cut: without the escape, of at most 12 bytes, that the cut may
// have gone through.
func beginning(raw []byte) string {
	for cut := range 12 {
		var text string
		if json.Unmarshal(append(raw[:len(raw)-cut:len(raw)-cut], '"'), &text) == nil {
			return text
		}
	}
	return string(raw[1:])
}
