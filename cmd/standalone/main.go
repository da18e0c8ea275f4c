// Command standalone is the whole SMAP Identity Service in one process on embedded parts.
package main

import (
	"os"

	"github.com/smap-platform/identity/internal/app/command"
)

func main() { os.Exit(command.Execute(command.Standalone())) }
