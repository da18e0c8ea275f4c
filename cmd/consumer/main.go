// Command consumer is the event side of the SMAP Identity Service.
package main

import (
	"os"

	"github.com/smap-platform/identity/internal/app/command"
)

func main() { os.Exit(command.Execute(command.Consumer())) }
