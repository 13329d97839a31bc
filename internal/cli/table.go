package cli

import (
	"context"
	"slices"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/methods"
)

// commands is the command table. Parsing, help, the manifest, the man page and
// the completions are derived from it: kong reads the structs, and each command
// has a [row] for what a struct cannot say.
type commands struct {
	globals

	Task  taskCommand  `cmd:"" help:"Give agents tasks and follow them."`
	Chat  chatCommand  `cmd:"" help:"Talk with an agent."`
	Agent agentCommand `cmd:"" help:"Find agents, and look after registered ones."`
	Call  callCommand  `cmd:"" help:"Call any method of the server with raw params."`

	Deliveries deliveriesCommand `cmd:"" help:"Look at what was sent to subscribers, and send it again."`

	Auth    authCommand    `cmd:"" help:"Log in, renew and look at credentials."`
	Context contextCommand `cmd:"" help:"Name servers and choose one."`
	Status  statusCommand  `cmd:"" help:"Show which server, which credential, and where they come from."`
	Doctor  doctorCommand  `cmd:"" help:"Find out why something does not work, or would not."`
	Explain explainCommand `cmd:"" help:"Tell what a task is waiting for, or why it ended."`
	Exec    execCommand    `cmd:"" help:"Run many commands from JSON lines on standard input."`

	Manifest   manifestCommand   `cmd:"" help:"Describe all commands as one JSON document."`
	Errors     errorsCommand     `cmd:"" help:"List error codes and exit codes."`
	Completion completionCommand `cmd:"" help:"Print the completion script of a shell."`
	Man        manCommand        `cmd:"" help:"Print the man page."`
	Version    versionCommand    `cmd:"" help:"Print the version."`

	Serve  serveCommand  `cmd:"" help:"Serve agents until SIGTERM."`
	Client clientCommand `cmd:"" help:"Look after the clients of arcd's own token service."`
	Keys   keysCommand   `cmd:"" help:"Look after the keys of arcd's own token service."`
	Dev    devCommand    `cmd:"" help:"Help for trying things out."`
	Store  storeCommand  `cmd:"" help:"Move, check and bring up to date where the state is kept."`
	Backup backupCommand `cmd:"" help:"Copy the state to a new file."`
	Config configCommand `cmd:"" help:"Look at the configuration of the server."`

	Restore restoreCommand `cmd:"" help:"Bring a backup into an empty store."`
}

// command is a leaf of the table.
type command interface {
	// row says what the struct cannot.
	row() row
	// run does the command. data is the envelope's data; it may come with an error,
	// where the state is worth showing. Problems with the arguments are reported
	// with [outcome.Invalid] before anything is sent or written.
	run(ctx context.Context, c *console) (data any, err error)
}

// danger says what a command can do.
type danger string

const (
	safe        danger = "safe"     // it only reads
	mutating    danger = "mutating" // it changes something
	destructive danger = "destructive"
)

// row is what the command table says about a command beside its flags.
type row struct {
	danger danger // needed
	// method is the method of the server that it calls; its scopes are those that the
	// command needs. "": it calls none, or several.
	method string
	// scopes are needed where there is no one method, or arcd's own server does not
	// have it.
	scopes []string
	// auth tells that it needs a credential.
	auth bool
	// exits are the exit codes besides those that every command of its kind has: see
	// row.allExits.
	exits []outcome.Exit
	// names gives exit codes another name than usual.
	names map[outcome.Exit]string
	// data is a value of the type that the envelope's data has; nil: it has none.
	data any
	// timeout is its default; 0: 30 s for commands that call a server, none for others.
	timeout time.Duration
	// stdin tells that it can read standard input, and of what size at most.
	stdin int
	// streams tells that it writes JSON lines before its envelope.
	streams bool
	// daemon tells that it runs until a signal, which is no failure then.
	daemon bool
	// instant tells that it is over before a signal could reach it: it reads nothing and
	// calls nobody, so nothing has to wait for signals.
	instant bool
	// groups say which flags exclude or need each other; the command's check holds them
	// to it.
	groups []argumentGroup
	// long is further text for its help.
	long string
	// examples are whole command lines that work.
	examples []string
}

// argumentGroup are flags that exclude or need each other.
type argumentGroup struct {
	Rule  string   `json:"rule"`  // excludes: the first goes with none of the others; needs: the first wants all others
	Flags []string `json:"flags"` // --name, or --name value
}

// wholeParams is the group of the commands that take params as a whole.
var wholeParams = []argumentGroup{{"excludes", []string{"--raw-payload", "--message", "--part", "--input-file"}}}

// requiredScopes are the scopes that a token needs for the command.
func (r row) requiredScopes() []string {
	if scopes := methods.Scopes(r.method); scopes != nil {
		return scopes
	}
	return r.scopes
}

// calls tells whether the command calls a server.
func (r row) calls() bool { return r.auth || r.method != "" }

// Exit codes that commands have by their kind.
var (
	localExits = []outcome.Exit{outcome.ExitSuccess, outcome.ExitGeneral, outcome.ExitArgument, outcome.ExitPrecondition, outcome.ExitInterrupted, outcome.ExitTerminated}
	callExits  = []outcome.Exit{
		outcome.ExitSuccess, outcome.ExitGeneral, outcome.ExitArgument, outcome.ExitPrecondition, outcome.ExitNotFound, outcome.ExitConflict, outcome.ExitTimeout,
		outcome.ExitDenied, outcome.ExitExpired, outcome.ExitRateLimited, outcome.ExitUnavailable, outcome.ExitInterrupted, outcome.ExitTerminated,
	}
)

// allExits gives every exit code that the command can end with, in order.
func (r row) allExits() []outcome.Exit {
	base := localExits
	switch {
	case r.calls():
		base = callExits
	case !r.instant && !r.daemon: // --timeout holds for these, too
		base = append(slices.Clone(base), outcome.ExitTimeout)
	}
	return sortedExits(base, r.exits)
}

// defaultTimeout is how long the command may take unless --timeout says otherwise.
func (r row) defaultTimeout() time.Duration {
	if r.timeout == 0 && r.calls() {
		return 30 * time.Second
	}
	return r.timeout
}
