package command

import (
	"encoding/base64"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// operatorCommands are what the people behind the service run, with what each needs of its environment beside a database.
var operatorCommands = []struct {
	words, needs []string
}{
	{words: []string{"user", "list", "--admins"}},
	{words: []string{"user", "promote", "an@example.com"}},
	{words: []string{"user", "demote", "an@example.com"}},
	{words: []string{"user", "enable", "an@example.com"}},
	{words: []string{"sessions", "end", "an@example.com"}},
	{words: []string{"sessions", "end", "--all"}},
	{words: []string{"audit"}},
	{words: []string{"user", "show", "an@example.com"}, needs: []string{"CODE_HMAC_KEY"}},
	{words: []string{"user", "disable", "an@example.com"}, needs: []string{"CODE_HMAC_KEY", "EVENTS_SEAL_KEY"}},
	{words: []string{"user", "delete", "an@example.com"}, needs: []string{"CODE_HMAC_KEY", "EVENTS_SEAL_KEY"}},
	{words: []string{"mail", "resend", "an@example.com"}, needs: []string{"CODE_HMAC_KEY", "EVENTS_SEAL_KEY"}},
}

// Each command asks for what it uses, and for nothing else.
func TestSettingsOfCommands(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.ToUpper(name) == name && name != "PATH" && name != "HOME" {
			t.Setenv(name, "")
		}
	}
	key := func(of string) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(of, 16))) }
	values := map[string]string{
		"POSTGRES_HOST": "127.0.0.1", "POSTGRES_USER": "identity", "POSTGRES_DB": "identity",
		"POSTGRES_PASSWORD": "hunter2", // and nobody listens there
		"CODE_HMAC_KEY":     key("ab"), "EVENTS_SEAL_KEY": key("cd"),
	}
	t.Setenv("POSTGRES_PORT", "1")
	t.Setenv("START_TIMEOUT", "100ms")
	for _, test := range operatorCommands {
		t.Run(strings.Join(test.words, " "), func(t *testing.T) {
			needs := append([]string{"POSTGRES_HOST", "POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"}, test.needs...)
			for _, name := range needs {
				t.Setenv(name, values[name])
			}
			words := slices.Concat(test.words, []string{"--by", "a test"})
			_, err := run(API(), words...)
			require.ErrorContains(t, err, "the database did not respond", "it has all it needs")
			for _, name := range needs {
				t.Setenv(name, "")
				_, err := run(API(), words...)
				require.ErrorContains(t, err, name+" is not set")
				t.Setenv(name, values[name])
			}
		})
	}
}

// A wrong word is refused by every command, with what to do.
func TestWrongWords(t *testing.T) {
	for _, test := range operatorCommands {
		c, _, err := API().Find(test.words)
		require.NoError(t, err)
		help := "; see " + c.CommandPath() + " --help"
		for name, words := range map[string][]string{
			"a word too many":  append(slices.Clone(test.words), "binh@example.com", "chi@example.com"),
			"a flag of no one": append(slices.Clone(test.words), "--bye", "a test"),
		} {
			_, err := run(API(), words...)
			require.ErrorContains(t, err, help, name)
		}
	}
	for _, words := range [][]string{{"user", "disable", "--by", "binh"}, {"user", "show"}, {"mail", "resend", "--by", "binh"}} {
		_, err := run(API(), words...)
		require.ErrorContains(t, err, "; see api "+words[0]+" "+words[1]+" --help")
	}
	for _, tree := range []*cobra.Command{API(), Consumer(), Standalone()} {
		_, err := run(tree, "nonsense")
		require.ErrorContains(t, err, `"nonsense"`)
		require.ErrorContains(t, err, "; see "+tree.Name()+" --help")
	}
}

// The commands above are all there are for accounts, and every one takes --by.
func TestOperatorCommands(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, c := range operatorCommands {
		found, _, err := API().Find(c.words)
		require.NoError(t, err)
		listed[found.CommandPath()] = true
	}
	var leaves func(c *cobra.Command) []*cobra.Command
	leaves = func(c *cobra.Command) (found []*cobra.Command) {
		if !c.HasSubCommands() {
			return []*cobra.Command{c}
		}
		for _, child := range c.Commands() {
			found = append(found, leaves(child)...)
		}
		return found
	}
	for _, group := range API().Commands() {
		if !slices.Contains([]string{"user", "sessions", "mail", "audit"}, group.Name()) {
			continue
		}
		for _, c := range leaves(group) {
			require.True(t, listed[c.CommandPath()], c.CommandPath())
			require.NotNil(t, c.Flags().Lookup("by"), c.CommandPath())
		}
	}
	repairs := 0
	for _, c := range leaves(Consumer()) {
		if slices.Contains([]string{"replay", "discard", "retry", "rebuild", "cleanup"}, c.Name()) {
			repairs++
			require.NotNil(t, c.Flags().Lookup("by"), c.CommandPath())
		}
	}
	require.Equal(t, 5, repairs)
}
