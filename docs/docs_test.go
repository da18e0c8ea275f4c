// Package docs_test holds the pages to what the program is: links, settings, commands, events, metrics and output.
package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/docs/doctest"
)

var block = regexp.MustCompile("(?ms)^ *```.*?^ *```$")

func withoutBlocks(text string) string { return block.ReplaceAllString(text, "") }

// code returns what a page shows as code: the lines of its blocks, and its code spans.
func code(text string) (all []string) {
	for _, b := range block.FindAllString(text, -1) {
		all = append(all, strings.Split(b, "\n")...)
	}
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(withoutBlocks(text), -1) {
		all = append(all, m[1])
	}
	return all
}

// foreign are names that look like settings: of AMQP, of statuses, and of the settings of other services.
var foreign = []string{
	"ACCESS_REFUSED", "PRECONDITION_FAILED", "PROCESSING_WAIT", "IDENTITY_URL", "BILLING_PASSWORD",
}

func TestSettings(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b`)
	// config's tests hold template.env to the table of settings; the others are variables of the tools.
	known := read(t, "template.env") + read(t, "Makefile") + read(t, "deployments/stack.sh") +
		read(t, "deployments/stack/settings.sh") + read(t, "deployments/compose.yaml")
	checked := 0
	for page, text := range doctest.Pages(t) {
		for _, setting := range name.FindAllString(text, -1) {
			checked++
			if !regexp.MustCompile(`\b`+setting+`\b`).MatchString(known) && !slices.Contains(foreign, setting) {
				t.Errorf("%s: there is no setting %s", page, setting)
			}
		}
	}
	require.Greater(t, checked, 50)
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(doctest.Root(t), file))
	require.NoError(t, err)
	return string(text)
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	blocks := doctest.Blocks(t)
	t.Run("a block names its language", func(t *testing.T) {
		t.Parallel()
		for _, b := range blocks {
			if b.Info == "" {
				t.Errorf("%s:%d: the block does not name its language", b.Page, b.Line)
			}
		}
	})
	t.Run("a test produces the output of a console block", func(t *testing.T) {
		t.Parallel()
		tests := produced(t)
		shown := map[string]bool{}
		for _, b := range blocks {
			switch {
			case b.Info != "console":
				require.NotRegexp(t, `(?m)^\$ `, b.Text, "%s:%d: a block with a prompt is a console block", b.Page, b.Line)
			case !tests[b.Name]:
				t.Errorf("%s:%d: no test calls doctest.Equal for this block", b.Page, b.Line)
			case shown[b.Name]:
				t.Errorf("%s:%d: another block has the same name", b.Page, b.Line)
			}
			shown[b.Name] = true
		}
		for name := range tests {
			require.True(t, shown[name], "no page shows %s", name)
		}
	})
	t.Run("the programs in integrate.md are those of docs/examples", func(t *testing.T) {
		t.Parallel()
		programs, err := filepath.Glob(filepath.Join(doctest.Root(t), "docs/examples/*/*"))
		require.NoError(t, err)
		require.NotEmpty(t, programs)
		languages := map[string]string{".go": "go", ".py": "python"}
		shown := 0
		for _, file := range programs {
			program, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, slices.ContainsFunc(blocks, func(b doctest.Block) bool {
				return b.Page == "docs/integrate.md" && b.Info == languages[filepath.Ext(file)] && b.Text == string(program)
			}), file)
		}
		for _, b := range blocks {
			if b.Page == "docs/integrate.md" && (b.Info == "go" || b.Info == "python") {
				shown++
			}
		}
		require.Len(t, programs, shown, "every program of the page is compiled")
	})
	t.Run("a walk runs every command that the runbook and integrate.md show", func(t *testing.T) {
		t.Parallel()
		scripts, err := filepath.Glob(filepath.Join(doctest.Root(t), "test/walks/*.sh"))
		require.NoError(t, err)
		walked := map[string]bool{}
		for _, file := range scripts {
			script, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range regexp.MustCompile(`(?m)^\s*block "?(\S+?)"? ([a-z-]+)`).FindAllStringSubmatch(string(script), -1) {
				walked[m[2]] = true
			}
		}
		names := map[string]bool{}
		for _, b := range blocks {
			if b.Info != "sh" || b.Name == "" && b.Page != "docs/runbook.md" && b.Page != "docs/integrate.md" {
				continue
			}
			if !walked[b.Name] {
				t.Errorf("%s:%d: no script of test/walks runs this block (<!-- run: %s -->)", b.Page, b.Line, b.Name)
			}
			names[b.Name] = true
		}
		for name := range walked {
			require.True(t, names[name], "no page has a block <!-- run: %s -->", name)
		}
	})
}

// produced returns the names of the blocks that a test of the module produces.
func produced(t *testing.T) map[string]bool {
	t.Helper()
	call := regexp.MustCompile(`doctest\.Equal\(t, "([^"]+)"`)
	names := map[string]bool{}
	walk(t, func(file, text string) {
		if strings.HasSuffix(file, "_test.go") {
			for _, m := range call.FindAllStringSubmatch(text, -1) {
				names[m[1]] = true
			}
		}
	})
	return names
}

// walk calls fn with every Go file of the module.
func walk(t *testing.T, fn func(file, text string)) {
	t.Helper()
	require.NoError(t, fs.WalkDir(os.DirFS(doctest.Root(t)), ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && file != "." {
			return fs.SkipDir
		}
		if path.Ext(file) == ".go" {
			fn(file, read(t, file))
		}
		return nil
	}))
}
