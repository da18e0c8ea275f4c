package authentication

import "io"

// Addresses is a list of addresses that may be too long for memory.
type Addresses interface {
	// Each calls found with every address and the line it stands in, counted from 1, and answers the first error of found.
	// It may be called more than once. It answers ErrUpload where the list cannot be read any further. A line that is no
	// address is not an error, and an address need not be whole when it is longer than any address can be.
	Each(found func(line int, address string) error) error
}

// Upload is what an administrator has sent to have many people invited.
type Upload struct {
	Addresses      Addresses
	Digest         []byte // of everything that was sent
	IdempotencyKey string // empty: none
	Locale         string // of the mails
	// Rejected is empty, and takes what was rejected: a gzipped JSON list of {"line", "address", "reason"}.
	Rejected io.ReadWriteSeeker
}

// Invited is what became of an upload; what was rejected is in its Rejected.
type Invited struct {
	BatchID  string
	Accepted int64
}
