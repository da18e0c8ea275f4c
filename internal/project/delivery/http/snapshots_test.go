package http

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/internal/project"
)

func TestSnapshots(t *testing.T) {
	t.Parallel()
	s := newSnapshots()
	first, err := s.event(project.Progress{ProjectID: "p", Done: 1})
	require.NoError(t, err)
	again, err := s.event(project.Progress{ProjectID: "p", Done: 1})
	require.NoError(t, err)
	require.Same(t, &first[0], &again[0], "it is encoded once")
	changed, err := s.event(project.Progress{ProjectID: "p", Done: 2})
	require.NoError(t, err)
	require.NotEqual(t, first, changed)
	for i := range 3 * maxSnapshots {
		_, err := s.event(project.Progress{ProjectID: strconv.Itoa(i)})
		require.NoError(t, err)
		require.LessOrEqual(t, len(s.known), maxSnapshots)
	}
}
