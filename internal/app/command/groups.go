package command

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// strict returns root with every group of commands, cobra's own help and completion among them, refusing a word that is
// none of its commands, for which cobra would print the help and report success, and every command refusing a flag with an
// empty text: it is a variable that is not set, and a filter that filters nothing. What is wrong with a command line ends in
// where its help is.
func strict(root *cobra.Command) *cobra.Command {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Args = helpTopic
		}
	}
	root.SetFlagErrorFunc(helped)
	return strictGroups(root)
}

// helped returns err with what to do about it.
func helped(c *cobra.Command, err error) error {
	if err != nil && !strings.Contains(err.Error(), " --help") {
		err = fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	}
	return err
}

// helpTopic returns an error unless args name a command.
func helpTopic(help *cobra.Command, args []string) error {
	c, rest, err := help.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%s has no command %q; see %s --help", c.CommandPath(), rest[0], c.CommandPath())
	}
	return err
}

func strictGroups(c *cobra.Command) *cobra.Command {
	for _, child := range c.Commands() {
		strictGroups(child)
	}
	if c.HasSubCommands() && !c.Runnable() {
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s has no command %q; see %s --help", c.CommandPath(), args[0], c.CommandPath())
			}
			return c.Help()
		}
		return c
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error { return helped(c, check(c, args)) }
	}
	c.PreRunE = func(c *cobra.Command, args []string) error {
		return helped(c, cmp.Or(refuseEmpty(c, args), c.ValidateRequiredFlags()))
	}
	return c
}

// refuseEmpty returns an error that names the first flag with an empty text.
func refuseEmpty(c *cobra.Command, _ []string) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if err == nil && f.Value.Type() == "string" && f.Value.String() == "" {
			err = fmt.Errorf("--%s is empty", f.Name)
		}
	})
	return err
}
