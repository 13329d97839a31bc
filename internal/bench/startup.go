package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mostStartup is the promise about a command that needs no network: its whole run
// takes at most this many times as long as that of an empty Go program.
const mostStartup = 3

// startups are the arguments of the commands that are started. The promise is
// about the first; the other, which needs the whole command table, is of interest.
var startups = []string{"version", "--help"}

// startup is what the start of programs took.
type startup struct {
	empty    time.Duration            // of the empty program
	commands map[string]time.Duration // of arcd, by arguments
	ratios   map[string]float64       // to the empty program within a round, medians
}

// measureStartup starts the arcd at path and an empty program, which it builds
// in dir, in turn, rounds times. A time is that from the start of the process to
// its end, as the one who waits for it sees it.
func measureStartup(ctx context.Context, path, dir string, rounds int) (s startup, err error) {
	empty, err := buildEmpty(ctx, dir)
	if err != nil {
		return s, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return s, err
	}
	s = startup{commands: make(map[string]time.Duration), ratios: make(map[string]float64)}
	var bare []float64
	times, ratios := make(map[string][]float64), make(map[string][]float64)
	for range rounds {
		nothing, err := timeRun(ctx, empty, dir)
		if err != nil {
			return s, err
		}
		bare = append(bare, float64(nothing))
		for _, args := range startups {
			took, err := timeRun(ctx, path, dir, strings.Fields(args)...)
			if err != nil {
				return s, err
			}
			times[args] = append(times[args], float64(took))
			ratios[args] = append(ratios[args], float64(took)/float64(nothing))
		}
	}
	s.empty = time.Duration(median(bare))
	for _, args := range startups {
		s.commands[args] = time.Duration(median(times[args]))
		s.ratios[args] = median(ratios[args])
	}
	return s, nil
}

// buildEmpty builds a program that does nothing, with the flags of the Makefile.
func buildEmpty(ctx context.Context, dir string) (path string, err error) {
	source := filepath.Join(dir, "empty.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "empty")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the empty program: %w\n%s", err, out)
	}
	return path, nil
}

// timeRun runs a program, its home in dir and its output nowhere, and tells how
// long that took.
func timeRun(ctx context.Context, path, dir string, args ...string) (time.Duration, error) {
	run := exec.CommandContext(ctx, path, args...)
	run.Dir, run.Env = dir, []string{"HOME=" + dir}
	begin := time.Now()
	err := run.Run()
	took := time.Since(begin)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", path, strings.Join(args, " "), err)
	}
	return took, nil
}

// print writes the rows of the start-up; w aligns its columns.
func (s startup) print(w io.Writer) {
	fmt.Fprintln(w, "\nstart-up\tmedian\tratio\twanted\tverdict")
	fmt.Fprintf(w, "empty program\t%s\n", s.empty.Round(10*time.Microsecond))
	for i, args := range startups {
		fmt.Fprintf(w, "arcd %s\t%s\t%.2f", args, s.commands[args].Round(10*time.Microsecond), s.ratios[args])
		if i == 0 {
			fmt.Fprintf(w, "\tat most %d\t%s", mostStartup, verdict(s.ratios[args] <= mostStartup))
		}
		fmt.Fprintln(w)
	}
}
