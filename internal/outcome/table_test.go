package outcome_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/outcome"
)

// exitTable is contract section 1.2.
var exitTable = []outcome.ExitEntry{
	{Exit: 0, Name: "SUCCESS", Effects: "complete"},
	{Exit: 1, Name: "GENERAL_ERROR", Effects: "unknown"},
	{Exit: 2, Name: "ARG_ERROR", Effects: "none"},
	{Exit: 3, Name: "PARTIAL_FAILURE", Effects: "partial"},
	{Exit: 4, Name: "PRECONDITION", Effects: "none"},
	{Exit: 5, Name: "NOT_FOUND", Effects: "none"},
	{Exit: 6, Name: "CONFLICT", Effects: "none"},
	{Exit: 7, Name: "TIMEOUT", Effects: "partial"},
	{Exit: 8, Name: "PERMISSION_DENIED", Effects: "none"},
	{Exit: 10, Name: "CREDENTIALS_EXPIRED", Retryable: true, Effects: "none"},
	{Exit: 11, Name: "RATE_LIMITED", Retryable: true, Effects: "none"},
	{Exit: 12, Name: "UNAVAILABLE", Retryable: true, Effects: "none"},
	{Exit: 13, Name: "REDIRECTED", Effects: "none"},
	{Exit: 130, Name: "CANCELLED", Effects: "partial"},
	{Exit: 143, Name: "CANCELLED", Effects: "partial"},
}

func TestExits(t *testing.T) {
	var got []outcome.ExitEntry
	for _, exit := range outcome.Exits() {
		entry := exit.Entry()
		if entry.Name != exit.Name() || entry.Retryable != exit.Retryable() {
			t.Errorf("%d: the entry %+v differs from the exit code's own words", exit, entry)
		}
		if !strings.HasSuffix(entry.Meaning, ".") || !strings.HasSuffix(entry.Action, ".") {
			t.Errorf("%d: meaning %q and action %q are not sentences", exit, entry.Meaning, entry.Action)
		}
		if entry.Retryable && entry.Effects != "none" {
			t.Errorf("%d may be repeated although it has effects (%s)", exit, entry.Effects)
		}
		entry.Meaning, entry.Action = "", ""
		got = append(got, entry)
	}
	if diff := cmp.Diff(exitTable, got); diff != "" {
		t.Errorf("exit codes (-contract +got):\n%s", diff)
	}
	if got := outcome.ExitPayment.Name(); got != "PAYMENT_REQUIRED" {
		t.Errorf("the reserved exit code is called %s", got)
	}
}

// TestCodes: every code has what the manifest and the documents say about it, and
// the words that the seed page calls wrong are none.
func TestCodes(t *testing.T) {
	form := regexp.MustCompile(`^[A-Z][A-Z0-9_]+$`)
	codes := outcome.Codes()
	if len(codes) < 40 {
		t.Fatalf("there are %d codes", len(codes))
	}
	seen := map[string]outcome.Code{}
	for i, code := range codes {
		words := append(code.Aliases(), string(code))
		for _, word := range words {
			if other, twice := seen[word]; twice {
				t.Errorf("%s means %s and %s", word, other, code)
			}
			seen[word] = code
			if !form.MatchString(word) {
				t.Errorf("%s is no word for a code", word)
			}
		}
		for _, text := range []string{code.Meaning(), code.Cure()} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", code, text)
			}
		}
		if code.Exit() == outcome.ExitSuccess || !slices.Contains(outcome.Exits(), code.Exit()) {
			t.Errorf("%s has the exit code %d", code, code.Exit())
		}
		if i > 0 && codes[i-1].Exit() > code.Exit() {
			t.Errorf("%s (%d) stands behind %s (%d)", code, code.Exit(), codes[i-1], codes[i-1].Exit())
		}
		if e := outcome.Errorf(code, "x"); e.Retryable != code.Exit().Retryable() || e.Retryable != (e.RetryStrategy != "") {
			t.Errorf("%s: retryable is %v with strategy %q, its exit code says %v", code, e.Retryable, e.RetryStrategy, code.Exit().Retryable())
		}
	}
	for _, word := range []outcome.Code{"FORBIDDEN", "UNAUTHORIZED"} {
		if slices.Contains(codes, word) {
			t.Errorf("%s is a code; agents take it for permanent", word)
		}
	}
}

// TestUnknownCode: a code that is not in the table ends as the general one, not with
// success.
func TestUnknownCode(t *testing.T) {
	if got := outcome.Code("NO_SUCH_CODE"); got.Exit() != outcome.ExitGeneral || got.Meaning() != outcome.General.Meaning() {
		t.Errorf("a code that is none has exit code %d", got.Exit())
	}
}

// TestAliasesAreACopy: who changes the list does not change the table.
func TestAliasesAreACopy(t *testing.T) {
	outcome.Expired.Aliases()[0] = "X"
	if diff := cmp.Diff([]string{"TOKEN_EXPIRED", "AUTH_EXPIRED"}, outcome.Expired.Aliases()); diff != "" {
		t.Error(diff)
	}
}
