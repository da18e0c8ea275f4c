package rabbitmq

import (
	"encoding/binary"
	"math"
)

// The limits of amqp091-go's reader.
const (
	maxDepth    = 32       // of tables and arrays in each other
	maxElements = 8192     // of one table or array
	readChunk   = 64 << 10 // what it reads of a long string at a time
)

// Reasons for [HeaderUnreadable].
const (
	tooDeep              = "nested too deeply"
	tooMany              = "too many entries"
	malformed            = "malformed"
	unreadableProperties = "malformed properties"
)

// container is a table or array that is being walked.
type container struct {
	array    bool
	end      int // where its bytes end
	elements int // an array's, or a table's entries
	key      string
	keys     map[string]struct{} // of a table that is large enough to have too many
}

// walker reads a field table as the library does, without recursion and without keeping anything. It has the library's
// leniency as well: an array may end before its announced length, wherever a value has not begun.
type walker struct {
	b      []byte
	at     int
	stack  []container
	reason string // why the library refuses the table
}

// walkTable returns where the table at ends, and why the library would refuse it; "" when it reads it. The end is -1
// when the table's own length is wrong: then nothing after it can be found.
func walkTable(b []byte, at int) (end int, reason string) {
	if len(b)-at < 4 {
		return -1, malformed
	}
	size := int64(binary.BigEndian.Uint32(b[at:]))
	if at += 4; size > int64(len(b)-at) {
		return -1, malformed
	}
	end = at + int(size)
	w := walker{b: b, at: at}
	w.push(false, end)
	for len(w.stack) > 0 && w.reason == "" {
		w.step()
	}
	return end, w.reason
}

func (w *walker) top() *container { return &w.stack[len(w.stack)-1] }

// push begins a table or array that ends at end.
func (w *walker) push(array bool, end int) {
	c := container{array: array, end: end}
	if !array && end-w.at > 2*maxElements { // an entry has two bytes at least
		c.keys = map[string]struct{}{}
	}
	w.stack = append(w.stack, c)
}

// step reads one element of the innermost container, or its end.
func (w *walker) step() {
	c := w.top()
	if c.array {
		if kind, ok := w.take(1); ok {
			w.value(kind[0])
		}
		return
	}
	if w.at >= c.end {
		w.pop(c.end)
		return
	}
	length, _ := w.take(1)
	key, ok := w.bytes(int64(length[0]))
	if !ok {
		return
	}
	if c.keys != nil {
		c.key = string(key)
	}
	if kind, ok := w.take(1); ok {
		w.value(kind[0])
	}
}

// value reads a field's value.
func (w *walker) value(kind byte) {
	if size, fixed := fixedSize(kind); fixed {
		if _, ok := w.take(size...); ok {
			w.added()
		}
		return
	}
	if kind != 'S' && kind != 'x' && kind != 'A' && kind != 'F' {
		w.reason = malformed
		return
	}
	if (kind == 'A' || kind == 'F') && len(w.stack) > maxDepth {
		w.reason = tooDeep
		return
	}
	head, ok := w.take(4)
	if !ok {
		return
	}
	size := int64(binary.BigEndian.Uint32(head))
	switch {
	case size > math.MaxInt32:
		w.reason = malformed
	case kind == 'A':
		w.push(true, int(min(int64(w.at)+size, int64(w.top().end))))
	default:
		start := w.at
		if _, ok := w.bytes(size); !ok {
			return
		}
		if kind == 'F' {
			w.at = start
			w.push(false, start+int(size))
			return
		}
		w.added()
	}
}

// fixedSize returns the sizes of the reads that a value of this kind takes.
func fixedSize(kind byte) (sizes []int, ok bool) {
	switch kind {
	case 'V':
		return nil, true
	case 't', 'B', 'b':
		return []int{1}, true
	case 's', 'u':
		return []int{2}, true
	case 'I', 'i', 'f':
		return []int{4}, true
	case 'l', 'd', 'T':
		return []int{8}, true
	case 'D':
		return []int{1, 4}, true
	}
	return nil, false
}

// added counts a complete element of the innermost container.
func (w *walker) added() {
	c := w.top()
	switch {
	case c.array:
		if c.elements >= maxElements {
			w.reason = tooMany
			return
		}
		c.elements++
	case c.keys != nil: // the same key again replaces its value
		if len(c.keys) >= maxElements {
			w.reason = tooMany
			return
		}
		c.keys[c.key] = struct{}{}
	}
}

// pop ends the innermost container, which is then an element of the one around it.
func (w *walker) pop(at int) {
	w.at = at
	w.stack = w.stack[:len(w.stack)-1]
	if len(w.stack) > 0 {
		w.added()
	}
}

// take reads as many bytes as sizes say, each in one read. It returns the last.
func (w *walker) take(sizes ...int) (read []byte, ok bool) {
	for _, size := range sizes {
		left := w.top().end - w.at
		switch {
		case left >= size:
			read = w.b[w.at : w.at+size]
			w.at += size
		case left == 0:
			w.ended()
			return nil, false
		default:
			w.reason = malformed
			return nil, false
		}
	}
	return read, true
}

// bytes reads a string of this size.
func (w *walker) bytes(size int64) (read []byte, ok bool) {
	left := w.top().end - w.at
	if size <= int64(left) {
		read = w.b[w.at : w.at+int(size)]
		w.at += int(size)
		return read, true
	}
	if left%readChunk != 0 { // cut off within a read, not between two
		w.reason = malformed
		return nil, false
	}
	w.at += left
	w.ended()
	return nil, false
}

// ended has the innermost array end, because there is nothing more to read. The library takes that for its regular end,
// also when it happens in a table that stands in the array; without an array the headers are cut off.
func (w *walker) ended() {
	at := w.at
	for len(w.stack) > 0 {
		c := w.top()
		if c.array {
			w.pop(at)
			return
		}
		at = c.end
		w.stack = w.stack[:len(w.stack)-1]
	}
	w.reason = malformed
}
