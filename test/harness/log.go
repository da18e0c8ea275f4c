package harness

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Log keeps the lines a process has written, across restarts.
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
		l.lines = append(l.lines, string(line))
		l.partial = rest
	}
	close(l.changed)
	l.changed = make(chan struct{})
	return len(b), nil
}

// Lines returns the complete lines from the given index on, oldest first.
func (l *Log) Lines(from int) []string {
	lines, _ := l.state(from)
	return slices.Clone(lines)
}

// Contains reports whether one line contains all texts.
func (l *Log) Contains(texts ...string) bool {
	lines, _ := l.state(0)
	return slices.ContainsFunc(lines, func(line string) bool { return containsAll(line, texts) })
}

// Wait returns the first line from the given index on that contains all texts, as soon as it has been written.
func (l *Log) Wait(ctx context.Context, from int, texts ...string) (string, error) {
	for {
		lines, changed := l.state(from)
		for _, line := range lines {
			if containsAll(line, texts) {
				return line, nil
			}
		}
		from += len(lines)
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waited for a line with %q: %w", texts, context.Cause(ctx))
		}
	}
}

// state returns the complete lines from the given index on, and a channel that is closed with the next change.
func (l *Log) state(from int) (lines []string, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines[min(from, len(l.lines)):], l.changed
}

func containsAll(line string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
}
