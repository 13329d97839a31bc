// Command arcd is an ARC Protocol server and the tools around it. "arcd --help"
// lists its commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/arcd-io/arcd/internal/cli"
)

func main() {
	signal.Ignore(syscall.SIGPIPE) // a reader that has had enough is no failure; writing tells
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
