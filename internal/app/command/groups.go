package command

import (
	"fmt"

	"github.com/spf13/cobra"
)

// strict returns c with every group of commands refusing a word that is none of its commands; cobra would print the help
// and report success.
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
	}
	return c
}
