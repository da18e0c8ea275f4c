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
	if err := build(root, dir, "./cmd/"+API, "./cmd/"+Consumer); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	built = dir
	return dir, nil
})

var built string

// build puts the programs of these packages, paths from the repository's root on, into dir.
func build(root, dir string, packages ...string) error {
	command := exec.Command("go", append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir}, packages...)...) //nolint:gosec // G204: a folder of our own making
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building %q: %w\n%s", packages, err, out)
	}
	return nil
}

// program builds a program of the test tree, once per run of the test program, and answers its name among the binaries.
func program(dir, source string) (name string, err error) {
	name = filepath.Base(source)
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		return name, nil
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	return name, build(root, dir, source)
}

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
