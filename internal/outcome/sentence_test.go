package outcome_test

import (
	"testing"

	"github.com/arcd-io/arcd/internal/outcome"
)

func TestSentence(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "It failed without a word.",
		"there is no folder to keep it in": "There is no folder to keep it in.",
		"first, look":                      "First, look.",
		"Done.":                            "Done.",
		"who is it?":                       "Who is it?",
		"task-1 has ended":                 "task-1 has ended.",
		"env:NAME is not set":              "env:NAME is not set.",
		"--agent is missing":               "--agent is missing.",
		"http://127.0.0.1 is closed":       "http://127.0.0.1 is closed.",
		"élan is short":                    "élan is short.",
	} {
		if got := outcome.Sentence(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
