package http

import (
	"fmt"
	"os"
)

// spool is a temporary file: what is too large for memory lies there for as long as one request takes.
type spool struct {
	*os.File
	unlinked bool
}

// newSpool answers an empty spool in the system's folder for temporary files (TMPDIR).
func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "identity-upload-*")
	if err != nil {
		return nil, fmt.Errorf("authentication/http: an upload needs room in the folder for temporary files: %w", err)
	}
	// Where an open file can have no name, nothing is left behind even by a process that is killed.
	return &spool{f, os.Remove(f.Name()) == nil}, nil
}

// close removes it. What it held is of no use by then, and so is an error.
func (s *spool) close() {
	_ = s.Close()
	if !s.unlinked {
		_ = os.Remove(s.Name())
	}
}
