package arc_test

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
)

// TestProblemTable compares the table with the contract's (section 2.2): what is
// there, in its order, with its status and title.
func TestProblemTable(t *testing.T) {
	want := strings.Split(strings.TrimSpace(`
agent-not-found 404 Agent Not Found
agent-not-available 404 Agent Not Available
duplicate-agent 409 Duplicate Agent
agent-registration-failed 400 Agent Registration Failed
authentication-failed 401 Authentication Failed
token-invalid 401 Invalid or Expired Token
session-invalid 401 Session Validation Failed
session-expired 401 Session Expired
insufficient-permissions 403 Insufficient Permissions
dpop-required 401 DPoP Proof Required
dpop-invalid 401 Invalid DPoP Proof
dpop-binding-mismatch 401 DPoP Key Mismatch
token-not-dpop-bound 401 Token Not DPoP Bound
mtls-required 401 Client Certificate Required
mtls-binding-mismatch 401 Certificate Mismatch
pin-required 400 PIN Required
pin-already-set 400 PIN Already Set
pin-not-set 400 PIN Not Set
pin-incorrect 401 Incorrect PIN
pin-invalid-length 400 Invalid PIN Length
configuration-error 500 Service Configuration Error
vector-search-unavailable 500 Vector Search Unavailable
operation-timeout 504 Operation Timeout
connection-timeout 504 Connection Timeout
endpoint-unreachable 502 Endpoint Unreachable
validation-failed 422 Request Validation Failed
invalid-input 400 Invalid Input Data
required-header-missing 400 Required Header Missing
invalid-url 400 Invalid URL Format
rate-limit-exceeded 429 Rate Limit Exceeded
request-too-large 413 Request Too Large
headers-too-large 413 Request Headers Too Large
internal-error 500 Internal Server Error
request-error 400 Request Processing Error
forbidden 403 Forbidden
not-found 404 Resource Not Found
tpr-disabled 503 Three-Phase Registration Disabled
method-not-allowed 405 Method Not Allowed
unsupported-media-type 415 Unsupported Media Type
not-implemented 501 Not Implemented
service-unavailable 503 Service Unavailable`), "\n")
	var got []string
	for p := range arc.Problems() {
		got = append(got, string(p)+" "+strconv.Itoa(p.Status())+" "+p.Title())
		for _, text := range []string{p.Meaning(), p.Cure()} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", p, text)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	for p := range arc.Problems() { // stopping early must be possible
		if p != arc.ProblemAgentNotFound {
			t.Errorf("the first problem is %s", p)
		}
		break
	}
}

func TestUnknownProblemIsInternal(t *testing.T) {
	if p := arc.Problem("odd"); p.Status() != http.StatusInternalServerError || p.Title() != arc.ProblemInternal.Title() {
		t.Errorf("%d %s", p.Status(), p.Title())
	}
}

// TestEveryCodeHasAProblem: whatever the rest of arcd may report can be shown as
// a problem document.
func TestEveryCodeHasAProblem(t *testing.T) {
	known := slices.Collect(arc.Problems())
	for code := arc.Code(-46000); code < -32000; code++ {
		e := arc.Errorf(code, "m")
		if !slices.Contains(known, e.Kind()) {
			t.Errorf("%d is shown as %q", code, e.Kind())
		}
		if code.Name() == "unknown" && e.Kind() != arc.ProblemInternal {
			t.Errorf("%d is not in the table, but is shown as %q", code, e.Kind())
		}
		class := func(status int) int { return status / 100 }
		if code.Name() != "unknown" && class(e.Kind().Status()) != class(code.Status()) {
			t.Errorf("%d: the code has status %d, its problem %s has %d", code, code.Status(), e.Kind(), e.Kind().Status())
		}
	}
}

func TestRefuse(t *testing.T) {
	e := arc.Refuse(arc.ProblemDuplicateAgent, "idempotency_conflict", "key '%s' is used", "k").With("idempotency_key", "k")
	if e.Code != arc.CodeDuplicateAgent || e.Kind() != arc.ProblemDuplicateAgent || e.Message != "key 'k' is used" ||
		e.Reason() != "idempotency_conflict" || e.ErrorCode() != "IDEMPOTENCY_CONFLICT" {
		t.Errorf("Refuse made %#v, %s", e, e.ErrorCode())
	}
	if got := arc.Errorf(arc.CodeMethodNotFound, "m").ErrorCode(); got != "NOT_FOUND" {
		t.Errorf("without a reason: %s, want the kind in capitals", got)
	}
}

func TestReasonsCanBeKept(t *testing.T) {
	list := arc.ProblemToken.Reasons()
	list[0] = "changed"
	if got := arc.ProblemToken.Reasons()[0]; got != "token_expired" {
		t.Errorf("a caller changed the table: %s", got)
	}
	if diff := cmp.Diff([]string{"DPOP_REQUIRED"}, arc.ProblemDPoPRequired.ErrorCodes()); diff != "" {
		t.Errorf("without words of its own (-want +got):\n%s", diff)
	}
}
