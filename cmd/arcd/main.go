// Command arcd is an ARC Protocol server and the tools around it. "arcd --help"
// lists its commands.
package main

import (
	"context"
	"os"

	"github.com/arcd-io/arcd/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
