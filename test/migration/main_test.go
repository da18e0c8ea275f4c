//go:build e2e

package migration

import (
	"fmt"
	"os"
	"testing"

	"github.com/smap-platform/identity/test/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := harness.RemoveBinaries(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
