// Package docs_test holds the pages to what the program is: links, settings, commands, metrics and console blocks.
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

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/api/apitest"
	"github.com/smap-platform/identity/config"
	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app"
	"github.com/smap-platform/identity/internal/app/command"
	"github.com/smap-platform/identity/internal/event"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	pages := doctest.Pages(t)
	exists := func(file string) bool {
		_, err := os.Stat(filepath.Join(doctest.Root(t), file))
		return err == nil
	}
	t.Run("every relative link leads to a file, and its anchor to a heading", func(t *testing.T) {
		t.Parallel()
		link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
		checked := 0
		for page, text := range pages {
			for _, m := range link.FindAllStringSubmatch(withoutBlocks(text), -1) {
				target, anchor, _ := strings.Cut(m[1], "#")
				if strings.Contains(target, "://") {
					continue
				}
				checked++
				file := page
				if target != "" {
					file = path.Join(path.Dir(page), target)
				}
				if !exists(file) {
					t.Errorf("%s: the link %s leads to no file", page, m[1])
				}
				if anchor != "" && !slices.Contains(anchors(pages[file]), anchor) {
					t.Errorf("%s: the link %s leads to no heading", page, m[1])
				}
			}
		}
		require.Greater(t, checked, 20)
	})
	t.Run("every file and folder named in a page exists", func(t *testing.T) {
		t.Parallel()
		named := regexp.MustCompile(`^(?:api|cmd|config|deployments|docs|internal|pkg|test)/[\w./-]*$|\./(?:cmd|test)/[\w/-]+`)
		identifier := regexp.MustCompile(`\.[A-Z]\w*$`) // as in internal/event.Message
		checked := 0
		for page, text := range pages {
			for _, c := range code(text) {
				if file := named.FindString(c); file != "" {
					checked++
					if !exists(identifier.ReplaceAllString(file, "")) {
						t.Errorf("%s: there is no %s", page, file)
					}
				}
			}
		}
		require.Greater(t, checked, 20)
	})
}

// anchors returns the anchors that GitHub gives to the headings of a page.
func anchors(text string) (all []string) {
	dropped := regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
	for line := range strings.Lines(withoutBlocks(text)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			title = dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(title, " ", "-"))
		}
	}
	return all
}

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

// foreign are names that look like settings: of AMQP, and of another service's status.
var foreign = []string{"PRECONDITION_FAILED", "PROCESSING_WAIT"}

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

func TestCommands(t *testing.T) {
	t.Parallel()
	trees := map[string]*cobra.Command{
		"api": command.API(), "consumer": command.Consumer(), "standalone": command.Standalone(),
	}
	t.Run("every command and flag in a page exists", func(t *testing.T) {
		t.Parallel()
		checked := 0
		line := regexp.MustCompile(`^\s*(?:\$ )?(?:bin/)?(api|consumer|standalone) ([^#;>&]+)`)
		for page, text := range doctest.Pages(t) {
			for _, c := range code(text) {
				if m := line.FindStringSubmatch(c); m != nil {
					checked++
					if problem := check(trees[m[1]], strings.Fields(m[2])); problem != "" {
						t.Errorf("%s: %q: %s", page, strings.TrimSpace(c), problem)
					}
				}
			}
		}
		require.Greater(t, checked, 20)
	})
	t.Run("every command of the production binaries is in operations.md", func(t *testing.T) {
		t.Parallel()
		text := read(t, "docs/operations.md")
		for _, binary := range []string{"api", "consumer"} {
			for _, c := range leaves(trees[binary]) {
				if c.Name() != "serve" && !strings.Contains(text, c.CommandPath()) {
					t.Errorf("docs/operations.md does not have `%s`", c.CommandPath())
				}
			}
		}
	})
	t.Run("every make target and command of the stack in a page exists", func(t *testing.T) {
		t.Parallel()
		makefile, stack := read(t, "Makefile"), read(t, "deployments/stack.sh")
		call := regexp.MustCompile(`(?:^|&& |\$ )(make|deployments/stack\.sh) ([a-z][a-z-]*)`)
		checked := 0
		for page, text := range doctest.Pages(t) {
			for _, c := range code(text) {
				for _, m := range call.FindAllStringSubmatch(strings.TrimSpace(c), -1) {
					checked++
					if !strings.Contains(makefile, "\n"+m[2]+":") && !strings.Contains(stack, "\n"+m[1]+" "+m[2]+" ") {
						t.Errorf("%s: there is no %s", page, m[0])
					}
				}
			}
		}
		require.Greater(t, checked, 10)
	})
}

// check walks down the tree along args and returns what does not exist.
func check(c *cobra.Command, args []string) string {
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	for i, arg := range args {
		arg = strings.Trim(arg, "[]")
		names := strings.Split(arg, "|")
		child := func(name string) *cobra.Command {
			i := slices.IndexFunc(c.Commands(), func(c *cobra.Command) bool { return c.Name() == name })
			if i < 0 {
				return nil
			}
			return c.Commands()[i]
		}
		switch flag, isFlag := strings.CutPrefix(arg, "--"); {
		case isFlag:
			name, _, _ := strings.Cut(flag, "=")
			if c.Flag(name) == nil {
				return "no flag --" + name
			}
		case arg == "…", !c.HasSubCommands():
		case slices.ContainsFunc(names, func(name string) bool { return child(name) == nil }):
			return "no command " + arg
		default:
			return check(child(names[0]), args[i+1:])
		}
	}
	return ""
}

func leaves(c *cobra.Command) (all []*cobra.Command) {
	if !c.HasSubCommands() {
		return []*cobra.Command{c}
	}
	for _, child := range c.Commands() {
		all = append(all, leaves(child)...)
	}
	return all
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
	t.Run("the programs in the migration guide are those of docs/examples", func(t *testing.T) {
		t.Parallel()
		for language, file := range map[string]string{"go": "main.go", "python": "consumer.py"} {
			require.True(t, slices.ContainsFunc(blocks, func(b doctest.Block) bool {
				return b.Page == "docs/migration-guide.md" && b.Info == language && b.Text == read(t, "docs/examples/consumer/"+file)
			}), file)
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

func TestEvents(t *testing.T) {
	t.Parallel()
	contract := apitest.NewEvents(t)
	t.Run("every event with a schema is in the registry", func(t *testing.T) {
		t.Parallel()
		text := read(t, "docs/events.md")
		for _, key := range contract.Keys() {
			require.Contains(t, text, "\n| `"+key+"` | ")
		}
	})
	t.Run("the retry ladder is that of the queues", func(t *testing.T) {
		t.Parallel()
		text := read(t, "docs/events.md")
		for _, q := range app.Queues(config.Config{}) {
			require.Len(t, q.Bindings, 1)
			row := regexp.MustCompile("\\| `" + q.Name + "` \\| `" + regexp.QuoteMeta(q.Bindings[0]) + "` \\| (.*?),? and .*\\|")
			found := row.FindStringSubmatch(text)
			require.NotNil(t, found, q.Name)
			var waits []string
			for _, wait := range q.Retry.Levels {
				waits = append(waits, strings.Replace(wait.String(), "m0s", "m", 1))
			}
			require.Equal(t, strings.Join(waits, ", "), found[1])
		}
	})
	t.Run("the example follows its schema", func(t *testing.T) {
		t.Parallel()
		blocks := doctest.Blocks(t)
		i := slices.IndexFunc(blocks, func(b doctest.Block) bool {
			return b.Page == "docs/events.md" && b.Info == "json"
		})
		require.GreaterOrEqual(t, i, 0)
		contract.Check(t, event.Message{
			ID:          "evt_019c1000-0000-7000-8000-0000000000e2",
			RoutingKey:  string(event.SubscriptionCreated),
			ContentType: "application/json",
			Body:        []byte(blocks[i].Text),
		})
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	literals := map[string]bool{}
	walk(t, func(file, text string) {
		if strings.HasSuffix(file, "_test.go") || !strings.HasPrefix(file, "internal/") && !strings.HasPrefix(file, "pkg/") {
			return
		}
		for _, m := range regexp.MustCompile(`"([a-z]+(?:_[a-z]+)+)"`).FindAllStringSubmatch(text, -1) {
			literals[m[1]] = true
		}
	})
	name := regexp.MustCompile(`\b[a-z]+(?:_[a-z]+)+\b`)
	labels := regexp.MustCompile(`\{[^}]*\}|by \([^)]*\)`)
	checked := 0
	exists := func(where, metric string) {
		checked++
		base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(metric, "")
		if !literals[metric] && !literals[base] && !strings.HasPrefix(metric, "redis_") { // redis_exporter's
			t.Errorf("%s: there is no metric %s", where, metric)
		}
	}
	for _, m := range regexp.MustCompile(`expr: (.*)`).FindAllStringSubmatch(read(t, "deployments/alerts.yaml"), -1) {
		for _, metric := range name.FindAllString(labels.ReplaceAllString(m[1], ""), -1) {
			exists("deployments/alerts.yaml", metric)
		}
	}
	_, section, ok := strings.Cut(read(t, "docs/operations.md"), "## Metrics")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllStringSubmatch(section, -1) {
		for _, metric := range name.FindAllString(labels.ReplaceAllString(row[1], ""), -1) {
			exists("docs/operations.md", metric)
		}
	}
	require.Greater(t, checked, 30)
}
