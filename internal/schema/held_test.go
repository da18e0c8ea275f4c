package schema

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func TestIsHeld(t *testing.T) {
	t.Parallel()
	for code, held := range map[string]bool{"40001": true, "40P01": true, "55P03": true, "42501": false, "25006": false, "53100": false} {
		require.Equal(t, held, isHeld(fmt.Errorf("acquire lock: %w", &pgconn.PgError{Code: code})), code)
	}
	require.True(t, isHeld(errors.New("the lease is another's, or the connection was lost")))
}
