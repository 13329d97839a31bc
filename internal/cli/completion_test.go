package cli_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestBashCompletion has bash complete lines with the script.
func TestBashCompletion(t *testing.T) {
	script := run(t, nil, "completion", "bash", "-o", "plain").stdout
	for line, want := range map[string]string{
		"arcd ta":                             "task",
		"arcd task li":                        "list",
		"arcd --timeout 5s task li":           "list",
		"arcd task --server http://x list --": "--limit",
		"arcd agent list --stat":              "--status",
		"arcd agent list --status al":         "alive",
		"arcd agent list --status = al":       "alive",
		"arcd -o js":                          "json",
		"arcd task get x --output pl":         "plain",
		"arcd completion fi":                  "fish",
		"arcd exec --input-file completion_t": "completion_test.go",
		"arcd agent list --con":               "--context",
	} {
		t.Run(line, func(t *testing.T) {
			words := strings.Fields(line)
			program := script + "\nCOMP_WORDS=(" + strings.Join(words, " ") + ")\nCOMP_CWORD=" + "$((${#COMP_WORDS[@]}-1))" + "\n_arcd\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
			command := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-u")
			command.Stdin = strings.NewReader(program)
			out, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got := strings.Fields(string(out)); !slices.Contains(got, want) {
				t.Errorf("completions are %q, want %s among them", got, want)
			}
		})
	}
}

// TestCompletionKnowsAll: every command and flag is in the script of every shell.
func TestCompletionKnowsAll(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		e := validateEnvelope(t, run(t, nil, "completion", shell).stdout, "completion")
		if e.Meta["truncated"] != nil {
			t.Errorf("the script for %s is cut", shell)
		}
		script := run(t, nil, "completion", shell, "-o", "plain").stdout
		for name, command := range described().Commands {
			if path := strings.Join(words(name), " "); !strings.Contains(script, path) {
				t.Errorf("the script for %s does not know %q", shell, path)
			}
			for _, p := range command.Parameters {
				if flag, ok := strings.CutPrefix(p.Name, "--"); ok && !strings.Contains(script, flag) {
					t.Errorf("the script for %s does not know --%s", shell, flag)
				}
			}
		}
	}
}

// TestManPage: groff reads the page without a word, and it names every command,
// exit code and variable.
func TestManPage(t *testing.T) {
	page := run(t, nil, "man", "-o", "plain").stdout
	command := exec.CommandContext(t.Context(), "groff", "-man", "-ww", "-Tutf8", "-z")
	command.Stdin = strings.NewReader(page)
	if out, err := command.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v: %.1000s", err, out)
	}
	shown := exec.CommandContext(t.Context(), "groff", "-man", "-Tascii", "-P-c", "-P-b", "-P-u")
	shown.Stdin = strings.NewReader(page)
	out, err := shown.Output()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	for name, command := range described().Commands {
		if line := "arcd " + strings.Join(words(name), " "); len(command.Subcommands) == 0 && !strings.Contains(text, line) {
			t.Errorf("the page has no %s", line)
		}
	}
	for _, want := range []string{"10 CREDENTIALS_EXPIRED", "CREDENTIALS_EXPIRED (10)", "ARCD_TOKEN", "NO_COLOR", "--output"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}
