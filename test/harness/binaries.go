package harness

import (
	"encoding/json"
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

// binaries builds both binaries once per run of the program, as make build does: without the race detector, which
// would change how they behave under load.
var binaries = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "smap-identity-"); err != nil {
		return "", err
	}
	built = dir
	return dir, build(dir, "./cmd/"+API, "./cmd/"+Consumer)
})

// Binary returns the path of a binary under test.
func Binary(name string) (string, error) {
	dir, err := binaries()
	return filepath.Join(dir, name), err
}

// built is the folder of the binaries, empty before the first build.
var built string

// Build builds our program of that name as [Binary] has it, with files replaced: of each path, from the root of the
// repository or absolute, the compiler reads the content given here. It returns the program's path.
func Build(name string, replaced map[string][]byte) (path string, err error) {
	dir, err := binaries()
	if err != nil {
		return "", err
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	own, err := os.MkdirTemp(dir, name+"-")
	if err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, content := range replaced {
		if !filepath.IsAbs(file) {
			file = filepath.Join(root, file)
		}
		instead := filepath.Join(own, fmt.Sprintf("%d.go", len(overlay.Replace)))
		if err := os.WriteFile(instead, content, 0o600); err != nil {
			return "", err
		}
		overlay.Replace[file] = instead
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(own, "overlay.json")
	if err := os.WriteFile(list, raw, 0o600); err != nil {
		return "", err
	}
	return filepath.Join(own, name), build(own, "-overlay="+list, "./cmd/"+name)
}

// build builds programs into dir. Their packages are paths from the root of the repository; options of the compiler may
// come before them.
func build(dir string, packages ...string) error {
	root, err := repository()
	if err != nil {
		return err
	}
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-o", dir}, packages...)
	command := exec.Command("go", args...) //nolint:gosec // G204: a folder and packages of our own
	command.Dir = root
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building %q: %w\n%s", packages, err, out)
	}
	return nil
}

// RemoveBinaries deletes what was built. Call it once, when every System has ended.
func RemoveBinaries() error {
	if built == "" {
		return nil
	}
	return os.RemoveAll(built)
}

// Repository returns the folder of go.mod.
func Repository() (string, error) { return repository() }

// repository returns the folder of go.mod, searched from the working directory upwards. It is looked up once: a test
// must be able to repair the servers it has broken even when the working tree changes meanwhile.
var repository = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in this folder or above; run this inside the repository")
		}
		dir = parent
	}
	return "", err
})
