package cli_test

import (
	"strings"
	"testing"
)

// TestVariablesOfTheClient: variables that the client reads do not keep a server
// from starting in the same environment.
func TestVariablesOfTheClient(t *testing.T) {
	var schema struct {
		Environment []struct{ Name string }
	}
	run(t, nil, "--schema", "--max-output", "0").into(t, &schema)
	if len(schema.Environment) < 20 {
		t.Fatalf("there are only %d variables", len(schema.Environment))
	}
	for _, v := range schema.Environment {
		if strings.HasPrefix(v.Name, "ARCD_") && !strings.ContainsAny(v.Name, "*") && v.Name != "ARCD_CONFIG" {
			if got := run(t, []string{v.Name + "=1s"}, "config", "show", "--output", "json"); strings.Contains(got.stdout, "no such key") {
				t.Errorf("%s: %s", v.Name, got.complaint(t))
			}
		}
	}
}
