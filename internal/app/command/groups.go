package command

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// strict returns c with every group of commands refusing a word that is none of its commands, for which cobra would print
// the help and report success, and every command refusing a flag with an empty text: it is a variable that is not set, and
// a filter that filters nothing.
func strict(c *cobra.Command) *cobra.Command {
	for _, child := range c.Commands() {
		strict(child)
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
	c.PreRunE = refuseEmpty
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
