package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/smap-platform/identity/docs/doctest"
	"github.com/smap-platform/identity/internal/app/command"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	trees := map[string]*cobra.Command{
		"api": command.API(), "consumer": command.Consumer(), "standalone": command.Standalone(),
	}
	t.Run("every command and flag in a page exists", func(t *testing.T) {
		t.Parallel()
		checked := 0
		line := regexp.MustCompile(`^\s*(?:\$ )?(?:bin/)?(api|consumer|standalone) ([^ #;>&][^#;>&]*)`)
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
				cobras := strings.Contains(c.CommandPath(), " completion ") || c.Name() == "help"
				if c.Name() != "serve" && !cobras && !strings.Contains(text, c.CommandPath()) {
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
