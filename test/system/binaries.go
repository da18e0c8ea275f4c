package system

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// The binaries under test.
const (
	API      = "api"
	Consumer = "consumer"
)

// binaries builds both, once per run of the test program, as `make build` does: without the race detector, which
// would change how they behave under load.
var binaries = sync.OnceValues(func() (dir string, err error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "smap-identity-"); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir, "./cmd/"+API, "./cmd/"+Consumer) //nolint:gosec // G204: a folder of our own making
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building the binaries: %w\n%s", err, out), os.RemoveAll(dir))
	}
	built = dir
	return dir, nil
})

var built string

// RemoveBinaries deletes what was built. Call it once, when everything has ended (TestMain).
func RemoveBinaries() error {
	if built == "" {
		return nil
	}
	return os.RemoveAll(built)
}

// repository finds the folder of go.mod from the working directory upwards. Once, at the start: a clone that changes
// meanwhile must not keep a test from repairing the servers it has broken.
var repository = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("there is no go.mod from here upwards; run this inside the repository")
		}
		dir = parent
	}
	return "", err
})
