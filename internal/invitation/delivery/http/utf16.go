package http

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// asUTF8 returns what follows a byte order mark as UTF-8. What has none is UTF-8 already, or checked as if it were. It
// returns [invitation.ErrUpload] for what is no text: a spreadsheet, UTF-32, or UTF-16 without a mark.
func asUTF8(r *bufio.Reader) (io.Reader, error) {
	beginning, _ := r.Peek(4)
	for len(beginning) < 4 { // a short text has no room for a mark of the others
		beginning = append(beginning[:len(beginning):len(beginning)], ' ')
	}
	zeroes := beginning[0] == 0 || beginning[1] == 0 || beginning[2] == 0 && beginning[3] == 0
	switch text := string(beginning); {
	case zeroes, text == "PK\x03\x04", text == "\xD0\xCF\x11\xE0":
		return nil, unusable("is a spreadsheet or in an unknown encoding; save it as CSV UTF-8")
	case text[:3] == "\uFEFF":
		_, err := r.Discard(3)
		return r, err
	case text[:2] == "\xFF\xFE":
		_, err := r.Discard(2)
		return &utf16Reader{r: r, order: binary.LittleEndian}, err
	case text[:2] == "\xFE\xFF":
		_, err := r.Discard(2)
		return &utf16Reader{r: r, order: binary.BigEndian}, err
	}
	return r, nil
}

// utf16Reader reads UTF-16 as UTF-8. Half of a surrogate pair, and half of a unit at the end, become a byte that is no
// UTF-8: no address can have it.
type utf16Reader struct {
	r     *bufio.Reader
	order binary.ByteOrder
	ahead rune // of a surrogate pair, the second half; 0: none
	rest  []byte
}

const notUTF8 = 0xFF

// Read implements [io.Reader].
func (u *utf16Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(u.rest) == 0 {
			if u.rest, err = u.decode(); err != nil {
				break
			}
		}
		copied := copy(p[n:], u.rest)
		u.rest, n = u.rest[copied:], n+copied
	}
	if n > 0 {
		return n, nil // the reader returns its error again
	}
	return 0, err
}

// decode returns the next character.
func (u *utf16Reader) decode() ([]byte, error) {
	c, err := u.unit()
	if err != nil {
		return nil, err
	}
	if !utf16.IsSurrogate(c) {
		return encode(c), nil
	}
	if second, err := u.unit(); err == nil { // else the next call finds the same error
		if pair := utf16.DecodeRune(c, second); pair != utf8.RuneError {
			return encode(pair), nil
		}
		u.ahead = second
	}
	return []byte{notUTF8}, nil
}

func (u *utf16Reader) unit() (rune, error) {
	if c := u.ahead; c != 0 {
		u.ahead = 0
		return c, nil
	}
	var two [2]byte
	if _, err := io.ReadFull(u.r, two[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return incomplete, nil
		}
		return 0, err
	}
	return rune(u.order.Uint16(two[:])), nil
}

// incomplete is no rune.
const incomplete rune = -1

func encode(c rune) []byte {
	if !utf8.ValidRune(c) {
		return []byte{notUTF8}
	}
	return utf8.AppendRune(nil, c)
}
