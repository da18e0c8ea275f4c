package operations

import (
	"context"

	"github.com/smap-platform/identity/internal/audit"
)

// Record shows who did what to whom. A page begins behind after, which is empty or More of the page before; it returns
// ErrPlace for anything else.
type Record interface {
	Entries(ctx context.Context, f audit.Filter, after string) (Part[audit.Entry], error)
}
