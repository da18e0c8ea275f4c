package httpserver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrincipal(t *testing.T) {
	t.Parallel()
	t.Run("is an administrator by its role alone", func(t *testing.T) {
		t.Parallel()
		for role, admin := range map[string]bool{"ADMIN": true, "USER": false, "admin": false, "": false} {
			require.Equal(t, admin, Principal{Subject: "user-1", Role: role}.Admin(), role)
		}
	})
}
