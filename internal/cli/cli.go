// Package cli is the command line of arcd. It knows all the parts and puts them
// together; [Run] is all that others see of it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes of the commands that are there now.
const (
	exitOK     = 0
	exitFailed = 1 // the command could not do its work
	exitUsage  = 2 // the command line makes no sense
)

// commands is the command table: kong derives parsing and help from it.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Serve agents until SIGTERM."`
	Client  clientCommand  `cmd:"" help:"Look after the clients of arcd's own token service."`
	Keys    keysCommand    `cmd:"" help:"Look after the keys of arcd's own token service."`
	Dev     devCommand     `cmd:"" help:"Help for trying things out."`
	Backup  backupCommand  `cmd:"" help:"Copy the state to a new file."`
	Config  configCommand  `cmd:"" help:"Look at the configuration."`
	Version versionCommand `cmd:"" help:"Print the version."`

	Output string `short:"o" enum:"auto,text,json" default:"auto" help:"Output on stdout: ${enum}. auto is text on a terminal and json elsewhere."`
}

// exit carries the exit code that kong asks for out of its parser: after help
// has been printed there is nothing left to do.
type exit int

// Run parses args (without the program's name), does the command and gives the
// exit code: 0 done, 1 failed, 2 wrong usage. Results go to stdout, logs and
// failures to stderr. env is the environment as [os.Environ] gives it.
//
// It ends when ctx does; "serve" drains first.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	var table commands
	defer func() {
		if r := recover(); r != nil {
			asked, ok := r.(exit)
			if !ok {
				panic(r)
			}
			code = int(asked)
		}
	}()
	parser, err := kong.New(&table,
		kong.Name("arcd"),
		kong.Description("An ARC Protocol server: one endpoint, many agents. Start with: arcd serve --dev"),
		kong.Writers(stdout, stderr),
		kong.Exit(func(n int) { panic(exit(n)) }),
		kong.WithHyphenPrefixedParameters(true), // --ttl -60s
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return fail(stderr, fmt.Errorf("building the command table: %w", err))
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "arcd: %v\n", err)
		fmt.Fprintln(stderr, "arcd --help shows the commands.")
		return exitUsage
	}
	c := newConsole(table.Output, env, stdin, stdout, stderr)
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(c); err != nil {
		return fail(stderr, err)
	}
	return exitOK
}

// fail writes why a command failed, one line for each reason.
func fail(stderr io.Writer, err error) int {
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "arcd: %s\n", line)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// usageError is a command line that parses but makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }
