package cli

import (
	"encoding/hex"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// globals are the flags that every command takes, before or after its name. The
// tag from names the environment variable that gives the default.
type globals struct {
	Output string `short:"o" enum:"auto,text,json,plain" default:"auto" from:"ARCD_OUTPUT" help:"Form of the result: ${enum}. auto is text on a terminal and json elsewhere; plain is the bare main value."`
	JSON   bool   `name:"json" help:"The same as --output=json."`
	Fields string `placeholder:"A,B" help:"Give only these members of data (of its items, in a list)."`
	Quiet  bool   `short:"q" help:"Write nothing to stderr."`
	Debug  bool   `from:"ARCD_DEBUG" help:"Tell on stderr what is sent and received, without secrets."`

	Server         string         `placeholder:"URL" from:"ARCD_SERVER" help:"The server. Default: that of the context, else http://127.0.0.1:8001."`
	Context        string         `name:"context" placeholder:"NAME" from:"ARCD_CONTEXT" help:"The named server to use. Default: the current one."`
	Token          string         `placeholder:"SOURCE" help:"Where the token is: env:NAME, file:PATH or - (standard input). Never the token itself. ARCD_TOKEN holds one too."`
	As             string         `placeholder:"AGENT" from:"ARCD_AGENT" help:"The agent id to call as (requestAgent). Default: that of the context, else the one that the token names."`
	Timeout        *time.Duration `placeholder:"TIME" from:"ARCD_TIMEOUT" help:"How long the command may take; 0 is without end. Default: by command, mostly 30s."`
	ConnectTimeout time.Duration  `placeholder:"TIME" default:"5s" from:"ARCD_CONNECT_TIMEOUT" help:"How long connecting may take."`
	Retries        int            `default:"2" from:"ARCD_RETRIES" help:"How often a call that can safely be repeated is."`
	CAFile         string         `name:"ca-file" placeholder:"FILE" from:"ARCD_CA_FILE" help:"Trust the authorities in this file (PEM) as well."`
	TraceID        string         `name:"trace-id" placeholder:"TEXT" from:"ARCD_TRACE_ID,TOOL_TRACE_ID,ARC_TRACE_ID" help:"Trace id that goes with every call. Default: that of TRACEPARENT."`

	AutoRefresh      bool   `from:"ARCD_AUTO_REFRESH" help:"Renew an expired credential and repeat the call, once, without being asked."`
	NoTokenSuccessor bool   `from:"ARCD_NO_TOKEN_SUCCESSOR" help:"Never use a renewed token in place of an expired ARCD_TOKEN."`
	NoConfig         bool   `name:"no-config" help:"Use no file of contexts."`
	InstanceID       string `name:"instance-id" placeholder:"NAME" from:"ARCD_INSTANCE_ID" help:"Keep credentials apart from those of other instances."`
	NonInteractive   bool   `name:"non-interactive" aliases:"no-input" from:"ARCD_NON_INTERACTIVE" help:"Never ask, on a terminal either."`
	MaxOutput        int    `name:"max-output" placeholder:"BYTES" default:"1048576" from:"ARCD_MAX_OUTPUT_BYTES,TOOL_MAX_OUTPUT_BYTES" help:"Cut results that are longer; long texts first. 0 never cuts."`
	ValidateOnly     bool   `name:"validate-only" help:"Check the arguments and do nothing."`

	Help    bool `short:"h" help:"Show help."`
	Schema  bool `group:"global" help:"Print the schema of the command, or of all, as JSON."`
	Version bool `name:"version" help:"Print the version line."`
}

// check looks at the flags that every command has.
func (g *globals) check(p *problems) error {
	if g.Token != "" {
		if _, err := credential.ParseSource(g.Token); err != nil {
			return outcome.Errorf(outcome.SecretInArgv, "--token takes env:NAME, file:PATH or - (standard input), never the token itself.").Because(err)
		}
	}
	if g.Server != "" {
		if u, err := url.Parse(g.Server); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			p.report(outcome.Problem{Code: outcome.Validation, Field: "--server", Input: shorten(g.Server), Message: "must be a URL that begins with https:// or http://"})
		} else if u.User != nil || u.RawQuery != "" {
			p.add("--server", "must have neither a user nor a query: credentials do not go into addresses")
		}
	}
	if g.Timeout != nil && *g.Timeout < 0 {
		p.add("--timeout", "must not be negative")
	}
	if g.Retries < 0 || g.Retries > 10 {
		p.add("--retries", "must be from 0 to 10")
	}
	if g.MaxOutput < 0 {
		p.add("--max-output", "must not be negative")
	}
	for _, named := range []struct{ flag, value string }{{"--context", g.Context}, {"--instance-id", g.InstanceID}, {"--as", g.As}} {
		if named.value == "" {
			continue
		}
		if problem, ok := checkIdentifier(named.flag, named.value); !ok {
			p.report(problem)
		}
	}
	if len(g.TraceID) > 128 || strings.ContainsFunc(g.TraceID, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		p.add("--trace-id", "must be at most 128 characters without control characters")
	}
	return nil
}

// hash tells two settings of where and as whom is called apart, without showing
// them: none of them is secret.
func (g *globals) hash() string {
	sum := fnv.New64a()
	for _, setting := range []string{g.Server, g.Context, g.Token, g.As, g.CAFile, g.InstanceID, g.TraceID} {
		_, _ = sum.Write(append([]byte(setting), 0)) // never fails
	}
	for _, setting := range []bool{g.AutoRefresh, g.NoTokenSuccessor, g.NoConfig, g.NonInteractive} {
		_, _ = sum.Write(strconv.AppendBool(nil, setting))
	}
	return hex.EncodeToString(sum.Sum(nil))
}
