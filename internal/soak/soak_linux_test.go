package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// TestSoak is a short run on both engines: nothing may be wrong at its end, and what is
// counted must have happened.
func TestSoak(t *testing.T) {
	o := options{lasts: 12 * time.Second, seed: 3, engines: []string{"postgres", "sqlite"}, callers: 2, pause: 100 * time.Millisecond, faults: 2 * time.Second}
	var out strings.Builder
	violations, err := run(t.Context(), o, &out)
	t.Log(out.String())
	if err != nil || violations > 0 {
		t.Errorf("%d violations, %v", violations, err)
	}
	for _, what := range []string{"tasks checked", "chats checked", "events checked", "calls about tasks of somebody else", "webhooks that came", "fault: ", "violations"} {
		if n := strings.Count(out.String(), what); n < 2 {
			t.Errorf("%q stands %d times in the report, want once for each engine", what, n)
		}
	}
}

// good is a task that is as it should be, and what its caller knows.
func good() (*job, *stored) {
	kinds := []arc.EventType{arc.TaskCreatedEvent, arc.TaskStartedEvent, arc.NewMessageEvent, arc.NewArtifactEvent, arc.TaskCompletedEvent}
	s := &stored{kind: kinds, task: &arc.Task{
		Status:    arc.TaskCompleted,
		Messages:  []arc.Message{arc.Text(arc.RoleUser, "key"), arc.Text(arc.RoleUser, "word")},
		Artifacts: []arc.Artifact{{Parts: []arc.Part{arc.TextPart("key")}}},
	}}
	for n, kind := range kinds {
		s.log = append(s.log, seen{int64(n + 1), string(kind)})
	}
	j := &job{agent: "echo", key: "key", text: "key", id: "task", said: []saying{{"word", true}}, views: [][]seen{slices.Clone(s.log[:3])}}
	return j, s
}

// TestChecker breaks a good task in every way that a soak looks for.
func TestChecker(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(*job, *stored)
		want  string
	}{
		"nothing":                    {func(*job, *stored) {}, ""},
		"a hole":                     {func(_ *job, s *stored) { s.log[2].seq = 7 }, "event 3 has the number 7"},
		"completed twice":            {func(_ *job, s *stored) { s.kind[1] = arc.TaskCompletedEvent }, "it ended 2 times"},
		"never ended":                {func(_ *job, s *stored) { s.kind[4] = arc.ProgressEvent }, "it ended 0 times"},
		"created twice":              {func(_ *job, s *stored) { s.kind[1] = arc.TaskCreatedEvent }, "it was created 2 times"},
		"failed":                     {func(_ *job, s *stored) { s.task.Status = arc.TaskFailed }, "it is FAILED, want COMPLETED"},
		"an artifact twice":          {func(_ *job, s *stored) { s.task.Artifacts = append(s.task.Artifacts, s.task.Artifacts...) }, "it has 2 artifacts"},
		"an event of one twice":      {func(_ *job, s *stored) { s.kind[1] = arc.NewArtifactEvent }, "2 events of one"},
		"another artifact":           {func(_ *job, s *stored) { s.task.Artifacts[0].Parts[0] = arc.TextPart("x") }, `its artifact is "x"`},
		"a message lost":             {func(_ *job, s *stored) { s.task.Messages = s.task.Messages[:1] }, `"word" is there 0 times`},
		"a message twice":            {func(j *job, s *stored) { s.task.Messages[0] = s.task.Messages[1] }, `"word" is there 2 times`},
		"a message of nobody":        {func(j *job, _ *stored) { j.said = nil }, "nobody said map[word:1]"},
		"shown what is not stored":   {func(j *job, _ *stored) { j.views[0][1].text = "x" }, "which is not in the log"},
		"shown more than is there":   {func(j *job, _ *stored) { j.views[0][1].seq = 9 }, "which is not in the log"},
		"canceled, but it completed": {func(j *job, _ *stored) { j.cancel = 2 }, "it is COMPLETED, want CANCELED"},
	} {
		j, s := good()
		c.spoil(j, s)
		got := strings.Join(s.check(j), "; ")
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: the checker says %q, want %q", what, got, c.want)
		}
	}
}

// TestHookChecker does the same with what a receiver got.
func TestHookChecker(t *testing.T) {
	_, s := good()
	ok := func(n string) told { return told{id: "sub." + n, body: n, taken: true} }
	no := func(n string) told { return told{id: "sub." + n, body: n} }
	for what, c := range map[string]struct {
		came     []told
		complete bool
		want     string
	}{
		"all":                    {[]told{ok("3"), ok("4"), ok("5")}, true, ""},
		"earlier ones too":       {[]told{ok("2"), ok("3"), ok("4"), ok("5")}, true, ""},
		"one twice":              {[]told{ok("3"), ok("4"), ok("4"), ok("5")}, true, ""},
		"one refused, repeated":  {[]told{no("3"), ok("3"), ok("4"), ok("5")}, true, ""},
		"one refused for good":   {[]told{no("3"), ok("4"), ok("5")}, false, "were taken"},
		"one lost":               {[]told{ok("3"), ok("5")}, false, "were taken"},
		"not yet the last":       {[]told{ok("3"), ok("4")}, false, "were taken"},
		"out of order":           {[]told{ok("4"), ok("3"), ok("5")}, false, "were taken"},
		"repeated differently":   {[]told{ok("3"), {id: "sub.3", body: "x"}, ok("4"), ok("5")}, true, "with another body"},
		"a signature of another": {[]told{ok("3"), {id: "sub.4", body: "4", taken: true, fault: "bad"}, ok("5")}, true, "sub.4: bad"},
		"of an unknown event":    {[]told{ok("3"), ok("4"), ok("5"), ok("6")}, false, "were taken"},
	} {
		h := &hook{id: "sub", head: 2}
		complete, faults := h.compare(s, c.came)
		got := strings.Join(faults, "; ")
		if complete != c.complete || !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: complete %v, %q, want %v, %q", what, complete, got, c.complete, c.want)
		}
	}
}
