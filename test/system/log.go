package system

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Log keeps the lines a process has written, those of all its lives.
type Log struct {
	mu      sync.Mutex
	lines   []string
	partial []byte
	changed chan struct{}
}

func newLog() *Log { return &Log{changed: make(chan struct{})} }

// Write implements io.Writer.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, b...)
	for {
		line, rest, ok := bytes.Cut(l.partial, []byte("\n"))
		if !ok {
			break
		}
		l.lines, l.partial = append(l.lines, string(line)), rest
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

// Lines answers the complete lines from the given one on, oldest first.
func (l *Log) Lines(from int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines[min(from, len(l.lines)):])
}

// Len is the number of complete lines.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// Wait answers the first line from the given one on that has all parts in it, as soon as it has been written.
func (l *Log) Wait(ctx context.Context, from int, parts ...string) (string, error) {
	for {
		l.mu.Lock()
		lines, changed := l.lines[min(from, len(l.lines)):], l.changed
		l.mu.Unlock()
		for _, line := range lines {
			if hasAll(line, parts) {
				return line, nil
			}
		}
		from += len(lines)
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waited for a line with %q: %w", parts, context.Cause(ctx))
		}
	}
}

func hasAll(line string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) })
}
