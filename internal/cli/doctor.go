package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
)

// doctorCommand is "arcd doctor".
type doctorCommand struct {
	What    string `arg:"" optional:"" enum:"all,auth,tls,token" default:"all" help:"What to look at: all, auth (where the credential comes from), tls (the way to the server) or token (why it would be refused)."`
	Offline bool   `help:"Call nobody."`
}

// diagnosis is the result of "doctor".
type diagnosis struct {
	Verdict string       `json:"verdict"` // one sentence
	Checks  []checkup    `json:"checks"`
	Summary checkSummary `json:"summary"`
	Server  *string      `json:"server"` // null where it cannot be told
	Context *string      `json:"context"`
}

// checkup is the outcome of one check.
type checkup struct {
	Name     string  `json:"name"`     // as token.audience
	OK       *bool   `json:"ok"`       // null: it could not be made
	Required bool    `json:"required"` // calls fail while it does
	Detail   *string `json:"detail"`
	Error    *string `json:"error"`
	Fix      *string `json:"fix"`
}

// checkSummary counts the checks.
type checkSummary struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

func (*doctorCommand) row() row {
	return row{
		danger: safe, data: diagnosis{}, timeout: time.Minute,
		long: "Exit code 1 (CHECK_FAILED) if a required check fails; each failed one says how to mend it. The token is looked at and sent to the server; it is never shown. " +
			"Only the server's own metadata decides whose keys are fetched.",
		examples: []string{"arcd doctor", "arcd doctor token", "arcd doctor token --offline", "arcd doctor tls --server https://arc.example"},
	}
}

func (d *doctorCommand) run(ctx context.Context, c *console) (any, error) {
	x := &examination{c: c, offline: d.Offline}
	l, err := c.place(ctx)
	if err != nil {
		e := outcome.Of(err)
		if e.Exit == outcome.ExitArgument {
			return nil, e
		}
		x.fail("configuration", true, e.Message, e.Suggestion)
		return x.conclude()
	}
	x.l = l
	for _, part := range []struct {
		name    string
		examine func(context.Context)
	}{{"auth", x.auth}, {"tls", x.way}, {"token", x.token}} {
		if d.What == "all" || d.What == part.name {
			part.examine(ctx)
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return x.conclude()
}

// examination is one run of the doctor.
type examination struct {
	c       *console
	l       *link
	offline bool
	checks  []checkup
	reached *reached // nil: the server was not asked yet
}

func (x *examination) add(name string, ok *bool, required bool, detail, problem, fix string) {
	x.checks = append(x.checks, checkup{
		Name: name, OK: ok, Required: required, Detail: optional(outcome.Clean(detail)), Error: optional(outcome.Clean(problem)), Fix: optional(outcome.Clean(fix)),
	})
}

// pass notes a check that is well.
func (x *examination) pass(name, format string, args ...any) {
	ok := true
	x.add(name, &ok, false, fmt.Sprintf(format, args...), "", "")
}

// fail notes a check that is not. required: calls fail because of it. The full stop
// of a whole sentence goes, since the problem is named within others.
func (x *examination) fail(name string, required bool, problem, fix string) {
	ok := false
	x.add(name, &ok, required, "", strings.TrimSuffix(problem, "."), fix)
}

// skip notes a check that could not be made, and why.
func (x *examination) skip(name, why string) { x.add(name, nil, false, why, "", "") }

// conclude sums up. A required check that fails is the error.
func (x *examination) conclude() (any, error) {
	data := diagnosis{Checks: x.checks}
	if x.l != nil {
		data.Server, data.Context = &x.l.server, optional(x.l.name)
	}
	var first *checkup
	for i, check := range x.checks {
		switch {
		case check.OK == nil:
			data.Summary.Skipped++
		case *check.OK:
			data.Summary.Passed++
		default:
			data.Summary.Failed++
			if first == nil && check.Required {
				first = &x.checks[i]
			}
		}
	}
	switch {
	case first != nil:
		data.Verdict = fmt.Sprintf("Calls would fail: %s.", value(first.Error))
		e := outcome.Errorf(outcome.CheckFailed, "The check %s failed: %s.", first.Name, value(first.Error))
		if first.Fix != nil {
			e.Suggest("%s", *first.Fix)
		}
		return data, e
	case data.Summary.Failed > 0:
		data.Verdict = "Nothing found that calls would fail for; some things could be better."
	default:
		data.Verdict = "Nothing found that calls would fail for."
	}
	return data, nil
}

func (d diagnosis) show(p *page) {
	const wide = 20 // of the longest name
	for _, check := range d.Checks {
		switch {
		case check.OK == nil:
			p.hang(p.paint(dim, "-")+" "+pad(check.Name, wide), value(check.Detail))
		case *check.OK:
			p.hang(p.paint(green, "✓")+" "+pad(check.Name, wide), value(check.Detail))
		default:
			mark, colour := "!", yellow
			if check.Required {
				mark, colour = "✗", red
			}
			p.hang(p.paint(colour, mark)+" "+p.paint(bold, pad(check.Name, wide)), value(check.Error))
			if check.Fix != nil {
				p.hang("    "+p.paint(cyan, "fix:"), *check.Fix)
			}
		}
	}
	p.line("")
	p.line("%s", d.Verdict)
}

func (d diagnosis) plain() []string { return []string{d.Verdict} }
