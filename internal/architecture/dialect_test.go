package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// avoided are the words that give a translation away, and references to documents that are not in the repository.
// Functions return, HTTP handlers respond, predicates report whether; a user is they.
var avoided = regexp.MustCompile(
	`(?i:\b(answers|tells? whether|he|his|him|himself|whoever|somebody|issue text)\b)|\b(WIRE|EVENTS|DESIGN)\.md\b`)

// exceptions are files, or folders ending in a slash, that still use them. One that is clean must leave the list.
var exceptions = []string{
	"docs/operations.md",
	"internal/event/rabbitmq/",
}

func TestDialect(t *testing.T) {
	t.Parallel()
	needed := map[string]bool{}
	check := func(t *testing.T, path string, line int, text string) {
		for _, e := range exceptions {
			if path == e || strings.HasSuffix(e, "/") && strings.HasPrefix(path, e) {
				needed[e] = needed[e] || avoided.MatchString(text)
				return
			}
		}
		if word := avoided.FindString(text); word != "" {
			t.Errorf("%s:%d: %q: CONTRIBUTING.md says what to write instead", path, line, word)
		}
	}
	t.Run("comments are written as the standard library's", func(t *testing.T) {
		for path, file := range sources(t, parser.ParseComments) {
			if ast.IsGenerated(file.AST) {
				continue
			}
			for _, group := range file.AST.Comments {
				for _, comment := range group.List {
					for i, text := range strings.Split(comment.Text, "\n") {
						check(t, path, file.Lines.Position(comment.Pos()).Line+i, text)
					}
				}
			}
		}
	})
	t.Run("pages are written in the same dialect", func(t *testing.T) {
		for path := range files(t, ".md") {
			for i, line := range prose(t, path) {
				check(t, path, i+1, line)
			}
		}
	})
	for _, e := range exceptions {
		if !needed[e] {
			t.Errorf("%s is clean: remove it from the exceptions", e)
		}
	}
}

// source is one parsed Go file.
type source struct {
	AST   *ast.File
	Lines *token.FileSet
}

// sources parses every Go file of the module, by its path below the module's root.
func sources(t *testing.T, mode parser.Mode) map[string]source {
	t.Helper()
	all := map[string]source{}
	for path := range files(t, ".go") {
		lines := token.NewFileSet()
		file, err := parser.ParseFile(lines, filepath.Join(root, path), nil, mode)
		require.NoError(t, err)
		all[path] = source{file, lines}
	}
	return all
}

const root = "../.."

// files returns the paths, below the module's root, of the files with the extension ext.
func files(t *testing.T, ext string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(entry.Name(), ".") && path != root; {
		case err != nil:
			return err
		case entry.IsDir() && (hidden || entry.Name() == "bin" || entry.Name() == "testdata"):
			return fs.SkipDir
		case filepath.Ext(path) == ext:
			below, err := filepath.Rel(root, path)
			all[filepath.ToSlash(below)] = true
			return err
		}
		return nil
	}))
	require.NotEmpty(t, all, fmt.Sprintf("no %s files below %s", ext, root))
	return all
}

var inlineCode = regexp.MustCompile("`[^`]*`")

// prose returns the lines of a page without its code.
func prose(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	fenced := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			fenced = !fenced
		}
		if fence || fenced {
			lines[i] = ""
		} else {
			lines[i] = inlineCode.ReplaceAllString(line, "")
		}
	}
	return lines
}
