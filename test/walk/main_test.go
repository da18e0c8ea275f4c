//go:build e2e

package walk

import (
	"fmt"
	"os"
	"testing"

	"github.com/smap-platform/identity/test/system"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := system.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
