package http

import (
	"fmt"
	"os"
)

// spool is a temporary file. It holds what is too large for memory while one request lasts.
type spool struct {
	*os.File
	unlinked bool
}

// newSpool returns an empty spool in the system's folder for temporary files (TMPDIR).
func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "identity-upload-*")
	if err != nil {
		return nil, fmt.Errorf("invitation/http: an upload needs room in the folder for temporary files: %w", err)
	}
	// Where an open file can have no name, not even a process that is killed leaves anything behind.
	return &spool{f, os.Remove(f.Name()) == nil}, nil
}

// close removes the file. What it held is of no use any more, and so is an error.
func (s *spool) close() {
	_ = s.Close()
	if !s.unlinked {
		_ = os.Remove(s.Name())
	}
}
