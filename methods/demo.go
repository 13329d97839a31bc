package methods

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// demo is a small deterministic agent for trying things out and for tests.
type demo struct {
	description string
	run         RunnerFunc
}

var demos = map[string]demo{
	"echo":   {"Completes at once with an artifact that holds the text it was given; in a chat it says the text.", echo},
	"slow":   {"Works for ten steps of 200 ms, or as many as the text says (a number), then completes.", slow},
	"fail":   {"Always fails.", failing},
	"input":  {"Asks one question and completes with the answer.", input},
	"stream": {"Answers in twenty pieces, or as many as the text says (a number).", stream},
	"flaky":  {"Fails once in a way that is tried again, then does as echo does.", flaky},
}

// DemoKinds lists the demo agents, sorted.
func DemoKinds() []string {
	kinds := make([]string, 0, len(demos))
	for kind := range demos {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Demo gives a demo agent; ok is false if there is none of that kind.
func Demo(kind string) (a Agent, ok bool) {
	d, ok := demos[kind]
	return Agent{
		Runner: d.run, Name: kind, Description: d.description, Version: "1",
		Capabilities: []string{"demo", kind},
	}, ok
}

func echo(ctx context.Context, t *Turn) error {
	text := t.Message().Text()
	if t.Chat != nil {
		return t.Write(ctx, text)
	}
	return t.Artifact(ctx, arc.Artifact{Name: "echo", MimeType: "text/plain", Parts: []arc.Part{arc.TextPart(text)}})
}

// count reads the number of steps from the message; at most 10,000.
func count(t *Turn, usual int) int {
	n := usual
	if _, err := fmt.Sscanf(strings.TrimSpace(t.Message().Text()), "%d", &n); err != nil {
		return usual
	}
	return min(max(n, 0), 10_000)
}

func slow(ctx context.Context, t *Turn) error {
	steps := count(t, 10)
	for i := range steps {
		timer := time.NewTimer(200 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
		if err := t.Progress(ctx, 100*(i+1)/steps, fmt.Sprintf("step %d of %d", i+1, steps)); err != nil {
			return err
		}
	}
	return echo(ctx, t)
}

func failing(context.Context, *Turn) error {
	return arc.Errorf(arc.CodeTaskFailed, "this agent always fails").With("reason", "demo").With("retryable", false)
}

func input(ctx context.Context, t *Turn) error {
	if t.Chat == nil && len(t.History) == 1 {
		return t.NeedInput(ctx, arc.Text(arc.RoleAgent, "What is your answer?"))
	}
	return echo(ctx, t)
}

func stream(ctx context.Context, t *Turn) error {
	for i := range count(t, 20) {
		if err := t.Write(ctx, fmt.Sprintf("piece %d ", i+1)); err != nil {
			return err
		}
	}
	return nil
}

func flaky(ctx context.Context, t *Turn) error {
	if t.Task != nil && t.Attempt == 1 {
		return Retry(fmt.Errorf("the first attempt of the flaky demo agent fails"), 100*time.Millisecond)
	}
	return echo(ctx, t)
}
