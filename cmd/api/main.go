// Command api is the HTTP side of the SMAP Identity Service.
package main

import (
	"os"

	"github.com/smap-platform/identity/internal/app/command"
)

func main() { os.Exit(command.Execute(command.API())) }
