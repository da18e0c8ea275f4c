package command

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// run runs a command line as Execute does, without a configuration.
func run(root *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.Execute()
	return out.String(), err
}

func TestStrict(t *testing.T) {
	t.Parallel()
	groups := 0
	for _, tree := range []func() *cobra.Command{API, Consumer, Standalone} {
		var visit func(c *cobra.Command, path []string)
		visit = func(c *cobra.Command, path []string) {
			for _, child := range c.Commands() {
				visit(child, append(path[:len(path):len(path)], child.Name()))
			}
			if !c.HasSubCommands() {
				return
			}
			groups++
			_, err := run(tree(), append(path[:len(path):len(path)], "shw")...)
			require.ErrorContains(t, err, `"shw"`, "%v", path)
			if len(path) > 0 {
				help, err := run(tree(), path...)
				require.NoError(t, err)
				require.Contains(t, help, "Usage:")
			}
		}
		visit(tree(), nil)
	}
	require.Greater(t, groups, 6)
}

func TestSelection(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"replay without a selection":  {[]string{"replay", "identity.email"}, "--all"},
		"discard without a selection": {[]string{"discard", "identity.email", "--reason", "x"}, "--all"},
		"show without a selection":    {[]string{"show", "identity.email"}, "--all"},
		"an empty id":                 {[]string{"discard", "identity.email", "--id", "", "--reason", "x"}, "--id is empty"},
		"an empty id among others":    {[]string{"discard", "identity.email", "--id", "evt_1", "--id=", "--reason", "x"}, "--id is empty"},
		"an empty id in a list":       {[]string{"list", "identity.email", "--id", ""}, "--id is empty"},
		"an empty key":                {[]string{"replay", "identity.email", "--id", "evt_1", "--key", ""}, "--key is empty"},
		"an empty key beside an age":  {[]string{"replay", "identity.email", "--older-than", "24h", "--key="}, "--key is empty"},
		"an empty dead reason":        {[]string{"list", "identity.email", "--dead-reason", ""}, "--dead-reason is empty"},
		"an empty reason":             {[]string{"discard", "identity.email", "--id", "evt_1", "--reason", ""}, "--reason is empty"},
		"all and an id":               {[]string{"replay", "identity.email", "--all", "--id", "evt_1"}, "--all is every"},
		"all and a filter":            {[]string{"replay", "identity.email", "--all", "--key", "email.x"}, "--all is every"},
		"no age at all":               {[]string{"replay", "identity.email", "--key", "email.x", "--newer-than", "0s"}, "--newer-than is zero"},
		"all and an id to show":       {[]string{"show", "identity.email", "--all", "--id", "evt_1"}, "--all is every"},
		"a negative age":              {[]string{"replay", "identity.email", "--older-than", "-1h"}, "negative"},
		"no queue":                    {[]string{"list"}, "arg"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &deadLetterFlags{}
			group := f.commands()
			for _, c := range group.Commands() {
				c.RunE = func(c *cobra.Command, _ []string) error {
					_, err := f.letters(invocation{Command: c, args: []string{"identity.email"}}, nil, c.Name() != "list")
					return err
				}
			}
			_, err := run(strict(group), test.args...)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, tree := range []func() *cobra.Command{API, Consumer, Standalone} {
		for _, words := range [][]string{{"help", "shw"}, {"help", "completion", "shw"}, {"completion", "shw"}} {
			_, err := run(tree(), words...)
			require.ErrorContains(t, err, `"shw"`, "%v", words)
		}
		help, err := run(tree(), "help", "completion")
		require.NoError(t, err)
		require.Contains(t, help, "Usage:")
	}
}
