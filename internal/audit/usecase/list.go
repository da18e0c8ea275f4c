package usecase

import (
	"context"

	"github.com/smap-platform/identity/internal/audit"
)

// Reader shows entries. It is safe for concurrent use.
type Reader struct{ entries audit.Repository }

// NewReader returns a [Reader].
func NewReader(entries audit.Repository) *Reader { return &Reader{entries} }

// List returns the entries that f selects, the newest first, and how many there are without its Limit and Offset. It
// returns ErrForbidden unless the caller is an administrator, or an operator on the command line.
func (r *Reader) List(ctx context.Context, admin bool, f audit.Filter) (entries []audit.Entry, total int, err error) {
	if !admin {
		return nil, 0, audit.ErrForbidden
	}
	return r.entries.List(ctx, f)
}
