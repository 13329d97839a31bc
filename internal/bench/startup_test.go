package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestStartup takes a second empty program for arcd: it takes any arguments.
func TestStartup(t *testing.T) {
	arcd, err := buildEmpty(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := measureStartup(t.Context(), arcd, t.TempDir(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if s.empty <= 0 {
		t.Errorf("the empty program took %v", s.empty)
	}
	for _, args := range startups {
		if s.commands[args] <= 0 || s.ratios[args] <= 0 {
			t.Errorf("%s took %v, %v times as long", args, s.commands[args], s.ratios[args])
		}
	}
	var out bytes.Buffer
	s.print(&out)
	for _, want := range []string{"empty program", "arcd version", "at most 3", "arcd --help"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, out.String())
		}
	}
}

// TestStartupTellsOfFailures: what fails is not fast.
func TestStartupTellsOfFailures(t *testing.T) {
	no, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	for label, path := range map[string]string{
		"a program that fails": no,
		"no program":           filepath.Join(t.TempDir(), "nothing"),
	} {
		if _, err := measureStartup(t.Context(), path, t.TempDir(), 1); err == nil {
			t.Errorf("%s: no error", label)
		}
	}
}
