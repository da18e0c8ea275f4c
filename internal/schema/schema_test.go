package schema_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/schema"
	"github.com/smap-platform/identity/internal/schema/schematest"
	"github.com/smap-platform/identity/pkg/database"
)

func TestUpIsRepeatableAndDownIsUndone(t *testing.T) {
	schematest.Each(t, func(t *testing.T, db *database.DB) {
		ctx := context.Background()
		require.NoError(t, schema.Current(ctx, db))
		applied, err := schema.Up(ctx, db)
		require.NoError(t, err)
		require.Empty(t, applied, "a second run finds nothing to do")

		name, err := schema.Down(ctx, db)
		require.NoError(t, err)
		require.NotEmpty(t, name)
		require.ErrorContains(t, schema.Current(ctx, db), "api migrate up")

		status, err := schema.Status(ctx, db)
		require.NoError(t, err)
		require.True(t, status[len(status)-1].AppliedAt.IsZero())
		require.False(t, status[0].AppliedAt.IsZero())

		applied, err = schema.Up(ctx, db)
		require.NoError(t, err)
		require.Equal(t, []string{name}, applied)
		require.NoError(t, schema.Current(ctx, db))
	})
}
