package invitation

import "io"

// Addresses is a list of addresses that may be too long for memory.
type Addresses interface {
	// Each calls fn with every address and its line, counted from 1, and returns the first error of fn. It can be called
	// more than once. It returns [ErrUpload] where the list cannot be read any further. A line that is no address is not
	// an error. An address that is longer than any can be may be cut.
	Each(fn func(line int, address string) error) error
}

// Actor is the user who makes a request, with the role that the database has now.
type Actor struct {
	UserID string
	Admin  bool
}

// Uploads are spooled to disk, so that many at once would fill it: these may be under way in one process.
const (
	MaxUploadsPerAdmin = 2
	MaxUploads         = 4
)

// Upload is an administrator's list of people to invite.
type Upload struct {
	Addresses      Addresses
	Digest         []byte // of everything that was sent
	IdempotencyKey string // empty: none
	Locale         string // of the mails
	// Rejected receives the report of rejected lines: a gzipped JSON list of {"line", "address", "reason"}. It is empty
	// at first.
	Rejected Report
}

// Report is what a report is written to, as *os.File. It is emptied when an upload is stored a second time.
type Report interface {
	io.ReadWriteSeeker
	Truncate(size int64) error
}

// Receipt is the outcome of an upload. What was rejected is in [Upload.Rejected].
type Receipt struct {
	BatchID  string
	Accepted int64
}
