package sqldb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project/repository/sqldb"
)

func TestList(t *testing.T) {
	t.Parallel()
	each(t, "pages through what was announced last", func(s suite) {
		prefix := "proj_" + uuid.NewString()
		later := now.Add(100 * 24 * time.Hour) // behind which are those of other tests
		for i := range 3 {
			_, err := s.db.Exec(s.Context(), "storing", "INSERT INTO project_completions (project_id, event_id, completed_at) VALUES ($1, $2, $3)",
				fmt.Sprint(prefix, i), "evt", later)
			require.NoError(s, err)
		}
		var ids []string
		after := sqldb.Completed{}
		for range 3 {
			page, err := s.repo.List(s.Context(), after, 1)
			require.NoError(s, err)
			require.Len(s, page, 1)
			after = page[0]
			ids = append(ids, after.ProjectID)
			found, err := s.repo.Of(s.Context(), after.ProjectID)
			require.NoError(s, err)
			require.Equal(s, after, found)
		}
		require.Equal(s, []string{prefix + "2", prefix + "1", prefix + "0"}, ids)
		require.Equal(s, later, after.At)
		found, err := s.repo.Of(s.Context(), "another")
		require.NoError(s, err)
		require.Zero(s, found)
	})
}
