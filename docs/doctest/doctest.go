// Package doctest owns the blocks of the pages: README.md and the other pages at the root, docs and deployments.
//
// A page shows commands and their output in a block fenced as console, preceded by a comment: <!-- output: NAME -->.
// The test that runs those commands calls [Equal] with the name; the tests of package docs fail when a block has none.
// A block of commands that a script of test/walks runs as it stands is preceded by <!-- run: NAME -->.
// It does not run commands, and it does not normalise: a test that produces output fixes ids and times.
package doctest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Block is one fenced block of a page, without the indentation of a list it may stand in.
type Block struct {
	Page string // path below the root of the module
	Line int    // of the opening fence
	Info string // what follows the opening fence, such as console
	Name string // of the comment before it
	Text string
}

// Equal fails unless the block with this name shows session: each command behind "$ ", followed by its output.
func Equal(t testing.TB, name, session string) {
	t.Helper()
	blocks := Blocks(t)
	i := slices.IndexFunc(blocks, func(b Block) bool { return b.Name == name })
	require.GreaterOrEqual(t, i, 0, "no page has a block <!-- output: %s -->", name)
	require.Equal(t, session, blocks[i].Text, "%s:%d", blocks[i].Page, blocks[i].Line)
}

// Pages returns the text of every page by its path below the root of the module.
func Pages(t testing.TB) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "deployments/*.md"} {
		paths, err := filepath.Glob(filepath.Join(Root(t), pattern))
		require.NoError(t, err)
		for _, path := range paths {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			page, err := filepath.Rel(Root(t), path)
			require.NoError(t, err)
			pages[filepath.ToSlash(page)] = string(text)
		}
	}
	return pages
}

// Root returns the root of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for !exists(filepath.Join(dir, "go.mod")) {
		require.NotEqual(t, dir, filepath.Dir(dir), "no go.mod above the test")
		dir = filepath.Dir(dir)
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

var (
	fence  = regexp.MustCompile("^( *)(`{3,})([^`]*)$")
	marker = regexp.MustCompile(`^ *<!-- (?:output|run): (\S+) -->$`)
)

// Blocks returns the blocks of all pages.
func Blocks(t testing.TB) []Block {
	t.Helper()
	var blocks []Block
	for page, text := range Pages(t) {
		name, indent, closing := "", "", ""
		var block Block
		for i, line := range strings.Split(text, "\n") {
			opening := fence.FindStringSubmatch(line)
			switch {
			case closing != "" && strings.TrimSpace(line) == closing:
				blocks = append(blocks, block)
				closing, name = "", ""
			case closing != "":
				block.Text += strings.TrimPrefix(line, indent) + "\n"
			case opening != nil:
				indent, closing = opening[1], opening[2]
				block = Block{Page: page, Line: i + 1, Info: opening[3], Name: name}
			case marker.MatchString(line):
				name = marker.FindStringSubmatch(line)[1]
			case strings.TrimSpace(line) != "":
				name = ""
			}
		}
		require.Empty(t, closing, "%s: a block is not closed", page)
	}
	return blocks
}
