// Package verbatim reports whether a decoder of JSON would hand on a text as it was sent. encoding/json replaces bytes
// that are not UTF-8, and halves of surrogate pairs, by U+FFFD without a word: two different ids, or passwords, become
// one.
//
// It does not promise that the text is JSON; the decoder says that.
package verbatim

import (
	"bytes"
	"unicode/utf8"
)

// JSON reports whether body is UTF-8 (RFC 8259 §8.1) and every \u escape of a surrogate in it is half of a pair (§8.2).
func JSON(body []byte) bool {
	if !utf8.Valid(body) {
		return false
	}
	if bytes.IndexByte(body, '\\') < 0 {
		return true
	}
	var c Checker
	for _, b := range body {
		if !c.Add(b) {
			return false
		}
	}
	return true
}

// Checker is [JSON] for a text that comes byte by byte. Its zero value is at the beginning of one.
type Checker struct {
	// Of a rune: how many bytes are to come, and the bounds of the next one (Unicode, table 3-7).
	rest      int
	low, high byte
	// Of an escape: whether the last byte was its backslash, how many digits are to come, and their value so far.
	escaped bool
	digits  int
	value   rune
	// first is set between the two halves of a pair.
	first bool
}

// Add reports whether b may follow what came before. A text that ends in the middle of a rune or an escape is not JSON.
func (c *Checker) Add(b byte) bool {
	switch {
	case c.digits > 0:
		return c.digit(b)
	case c.escaped:
		c.escaped = false
		if b == 'u' {
			c.digits, c.value = 4, 0
			return true
		}
		return !c.first
	case c.rest > 0:
		return c.following(b)
	case b == '\\':
		c.escaped = true
		return true
	}
	return !c.first && c.leading(b)
}

// digit takes a hexadecimal digit of an escape. Anything else is no JSON, whatever it is reported as.
func (c *Checker) digit(b byte) bool {
	c.value <<= 4
	switch {
	case b >= '0' && b <= '9':
		c.value |= rune(b - '0')
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		c.value |= rune(b|0x20-'a') + 10
	default:
		return false
	}
	if c.digits--; c.digits > 0 {
		return true
	}
	second := c.value >= 0xdc00 && c.value <= 0xdfff
	if second != c.first {
		return false
	}
	c.first = c.value >= 0xd800 && c.value <= 0xdbff
	return true
}

// leading takes the first byte of a rune.
func (c *Checker) leading(b byte) bool {
	c.low, c.high = 0x80, 0xbf
	switch {
	case b < utf8.RuneSelf:
	case b >= 0xc2 && b <= 0xdf:
		c.rest = 1
	case b >= 0xe0 && b <= 0xef:
		c.rest = 2
		switch b {
		case 0xe0:
			c.low = 0xa0 // below is overlong
		case 0xed:
			c.high = 0x9f // above are surrogates
		}
	case b >= 0xf0 && b <= 0xf4:
		c.rest = 3
		switch b {
		case 0xf0:
			c.low = 0x90 // below is overlong
		case 0xf4:
			c.high = 0x8f // above is no Unicode
		}
	default:
		return false
	}
	return true
}

// following takes any other byte of a rune.
func (c *Checker) following(b byte) bool {
	if b < c.low || b > c.high {
		return false
	}
	c.low, c.high = 0x80, 0xbf
	c.rest--
	return true
}
