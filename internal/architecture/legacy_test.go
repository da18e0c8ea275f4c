package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What exists only because of the previous release is in internal/legacy, so that the migration can end with its folder.
func TestLegacy(t *testing.T) {
	t.Run("is imported by the composition root, binaries and tests only", func(t *testing.T) {
		for path, imports := range packages(t) {
			if strings.HasPrefix(path, "internal/app") || strings.HasPrefix(path, "cmd/") || strings.HasPrefix(path, "test/") {
				continue
			}
			require.NotContains(t, imports, module+"internal/legacy", path)
		}
	})

	t.Run("no other package names what is the previous release's", func(t *testing.T) {
		files := 0
		require.NoError(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name := filepath.ToSlash(strings.TrimPrefix(path, "../../"))
			switch {
			case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || knowsThePreviousRelease[name]):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(name, ".go"):
				return nil
			}
			files++
			for _, word := range wordsOfThePreviousRelease(t, path) {
				t.Errorf("%s: %s", name, word)
			}
			return nil
		}))
		require.Greater(t, files, 200, "the module has been seen")
	})
}

// knowsThePreviousRelease are the packages that may name it: its own, the setting, the tables, and tests from outside. This
// one has to name what it looks for.
var knowsThePreviousRelease = map[string]bool{
	"internal/legacy": true, "config": true, "internal/schema": true, "test": true, "internal/architecture": true,
}

// wordsOfThePreviousRelease returns the identifiers and string literals of a file that name what is the previous release's.
func wordsOfThePreviousRelease(t *testing.T, path string) (words []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		text := ""
		switch n := n.(type) {
		case *ast.Ident:
			text = n.Name
		case *ast.BasicLit:
			text = strings.ReplaceAll(n.Value, "00003_fanout_migration.sql", "") // a migration, as a command lists it
		}
		if strings.Contains(strings.ToLower(text), "fanout") || strings.Contains(text, "smtp_send_email") ||
			strings.Contains(text, "EVENTS_MIGRATION_PHASE") {
			words = append(words, text)
		}
		return true
	})
	return words
}
