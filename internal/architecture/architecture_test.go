// Package architecture proves who may import whom, with what the go command itself says of every package.
package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/smap-platform/identity/"

var domains = []string{"audit", "authentication", "subscription", "invitation", "project", "notification"}

type pkg struct {
	ImportPath string
	Imports    []string
}

// packages returns every package of the module: path below the module → what it imports, tests left out.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = "../.."
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	require.NoError(t, err, problems.String())
	all := map[string][]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all[strings.TrimPrefix(p.ImportPath, module)] = p.Imports
	}
	require.Greater(t, len(all), 20, "go list has seen the module")
	return all
}

// rule says what packages below one path may import of the module (prefixes) and of others (exact paths or prefixes
// ending in /). Everything of the standard library is free.
type rule struct {
	below  string
	inside []string
	others []string
}

func TestWhoMayImportWhom(t *testing.T) {
	const uuid = "github.com/google/uuid"
	rules := []rule{
		{"internal/event", []string{"pkg/verbatim"}, []string{uuid}},
		{"internal/event/outbox", []string{"internal/event", "pkg/"}, []string{"*"}},
		{"internal/event/rabbitmq", []string{"internal/event", "pkg/"}, []string{"*"}},
		{"internal/event/inprocess", []string{"internal/event", "pkg/"}, []string{"*"}},
		{"internal/heartbeat", []string{"pkg/"}, []string{"*"}},
		{"internal/status", []string{"internal/event", "internal/heartbeat", "pkg/terminal"}, nil},
		{"internal/operations", []string{
			"internal/audit", "internal/event", "internal/heartbeat", "internal/status", "pkg/apperror",
		}, nil},
		{"internal/operations/delivery/", []string{
			"internal/operations", "internal/audit", "internal/event", "internal/status", "pkg/apperror", "pkg/httpserver",
		}, []string{"github.com/labstack/echo/v4", "github.com/rs/zerolog"}},
		{"internal/operations/usecase", []string{"internal/operations", "internal/audit"}, nil},
		{"internal/operations/repository/", []string{"internal/operations", "pkg/database"}, nil},
		{"internal/legacy", []string{
			"internal/event", "internal/event/outbox", "internal/event/rabbitmq", "internal/heartbeat", "internal/authentication",
			"internal/audit",
			"internal/notification", "pkg/",
		}, []string{"*"}},
		{"pkg/", []string{"pkg/"}, []string{"*"}},
		{"config", []string{}, []string{"github.com/spf13/viper"}},
		{"cmd/", []string{"internal/app/command", "internal/inbox"}, []string{"github.com/rs/zerolog"}},
	}
	for _, d := range domains {
		root := "internal/" + d
		rules = append(rules,
			rule{root, []string{"pkg/apperror"}, []string{uuid, "golang.org/x/text/unicode/norm"}},
			rule{root + "/usecase", []string{root, "internal/audit", "internal/event", "pkg/apperror"}, []string{uuid}},
			rule{root + "/repository/", []string{root, "pkg/database", "pkg/redis", "pkg/apperror"}, []string{uuid, "github.com/redis/go-redis/v9"}},
			rule{root + "/delivery/", []string{root, "internal/event", "pkg/httpserver", "pkg/verbatim"}, []string{uuid, "github.com/labstack/echo/v4"}},
		)
	}
	all := packages(t)
	for _, r := range rules {
		checked := 0
		for path, imports := range all {
			if !matches(r.below, path) {
				continue
			}
			checked++
			for _, imported := range imports {
				require.True(t, r.allows(imported), "%s must not import %s", path, imported)
			}
		}
		require.NotZero(t, checked, "the rule for %s checks nothing", r.below)
	}
}

func (r rule) allows(imported string) bool {
	inside, ours := strings.CutPrefix(imported, module)
	if ours {
		return slices.ContainsFunc(r.inside, func(allowed string) bool { return matches(allowed, inside) })
	}
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true // the standard library
	}
	return slices.ContainsFunc(r.others, func(allowed string) bool { return allowed == "*" || matches(allowed, imported) })
}

func matches(allowed, path string) bool {
	return path == allowed || strings.HasSuffix(allowed, "/") && strings.HasPrefix(path, allowed)
}

// A domain that needs another asks through a port of its own; internal/app passes the other in. What use cases do is recorded
// by the one method of internal/audit.
func TestNoDomainImportsAnother(t *testing.T) {
	for path, imports := range packages(t) {
		for _, own := range domains {
			if path != "internal/"+own && !strings.HasPrefix(path, "internal/"+own+"/") {
				continue
			}
			for _, other := range domains {
				recorded := func(i string) bool {
					return i == module+"internal/audit" && strings.HasSuffix(path, "/usecase")
				}
				require.False(t, other != own && slices.ContainsFunc(imports, func(i string) bool {
					return !recorded(i) && (i == module+"internal/"+other || strings.HasPrefix(i, module+"internal/"+other+"/"))
				}), "%s imports the domain %s", path, other)
			}
		}
	}
}

// Only binaries and programs of test/ may know the composition root.
func TestOnlyCommandsImportTheRoot(t *testing.T) {
	for path, imports := range packages(t) {
		if strings.HasPrefix(path, "cmd/") || strings.HasPrefix(path, "internal/app") || strings.HasPrefix(path, "test/") {
			continue
		}
		for _, i := range imports {
			require.False(t, strings.HasPrefix(i, module+"internal/app"), "%s imports %s", path, i)
		}
	}
}

// The environment is read in one place.
func TestOnlyConfigKnowsViper(t *testing.T) {
	for path, imports := range packages(t) {
		require.False(t, path != "config" && slices.Contains(imports, "github.com/spf13/viper"), "%s imports viper", path)
	}
}
