package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test's own binary be the servers, as the benchmark's is.
func TestMain(m *testing.M) {
	if childMain() {
		return
	}
	os.Exit(m.Run())
}

// TestShortRun makes every kind of call some 160 times; any wrong answer
// is an error.
func TestShortRun(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), []string{"-short", "-dir", t.TempDir()}, &out); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", out.String())
	for _, want := range []string{createArcd, createOne, createTwo, infoArcd, infoOne, streamArcd, streamOne, doneArcd, doneOne, doneTwo, listArcd, getArcd, searchArcd, beatArcd, "heartbeats written", "new EdDSA token", "idle stream",
		routeHTTP + accepted, routeSocket + completed, routeDirect + talked, routeSocket + streamed, hookPlain, hookArcd,
		"one task until COMPLETED", "all answers are right"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q", want)
		}
	}
}
