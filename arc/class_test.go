package arc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/arcd-io/arcd/arc"
)

// classes are all there are.
var classes = []arc.Class{
	arc.ErrAuthentication, arc.ErrExpired, arc.ErrPermission, arc.ErrScope, arc.ErrNotFound, arc.ErrConflict, arc.ErrInvalid,
	arc.ErrRateLimited, arc.ErrTimeout, arc.ErrUnavailable, arc.ErrInternal,
}

// matching gives the classes that err is of.
func matching(err error) (found []arc.Class) {
	for _, class := range classes {
		if errors.Is(err, class) {
			found = append(found, class)
		}
	}
	return found
}

// TestClassOfEveryCode: each row of the table has one class, which is no surprise
// beside its HTTP status.
func TestClassOfEveryCode(t *testing.T) {
	other := map[arc.Code]arc.Class{ // where the status of HTTP says less than the code, or something else
		arc.CodeTokenExpired:      arc.ErrExpired,
		arc.CodeInsufficientScope: arc.ErrScope,
		arc.CodeDeadlineExceeded:  arc.ErrTimeout,
		arc.CodeChatOverflow:      arc.ErrUnavailable,
	}
	known := 0
	for code := arc.Code(-46000); code < -32000; code++ {
		if code.Name() == "unknown" {
			if code.Class() != "" {
				t.Errorf("%d has class %q and no name", code, code.Class())
			}
			continue
		}
		known++
		want := arc.ClassOfStatus(code.Status())
		if class, ok := other[code]; ok {
			want = class
		}
		if got := code.Class(); got != want {
			t.Errorf("%s (%d) has class %q, want %q", code.Name(), code, got, want)
		}
	}
	if known != 41 {
		t.Errorf("the table has %d codes, want 41", known)
	}
}

func TestErrorsIsClass(t *testing.T) {
	cause := errors.New("cause")
	for label, c := range map[string]struct {
		err  error
		want string
	}{
		"expired":                 {arc.Errorf(arc.CodeTokenExpired, ""), "[authentication failed credential expired]"},
		"not valid":               {arc.Errorf(arc.CodeTokenInvalid, ""), "[authentication failed]"},
		"scope":                   {arc.Errorf(arc.CodeInsufficientScope, ""), "[permission denied scope missing]"},
		"denied":                  {arc.Errorf(arc.CodePermissionDenied, ""), "[permission denied]"},
		"wrapped":                 {fmt.Errorf("x: %w", arc.Errorf(arc.CodeTaskNotFound, "")), "[not found]"},
		"keys unavailable":        {arc.Errorf(arc.CodeUnauthenticated, "").With("reason", "keys_unavailable"), "[unavailable]"},
		"unknown code":            {arc.Errorf(-1, ""), "[]"},
		"unknown code, 409":       {&arc.Error{Code: -1, Status: 409}, "[conflict]"},
		"unknown code, 200":       {&arc.Error{Code: -1, Status: 200}, "[]"},
		"a foreign 404":           {&arc.Error{Code: arc.CodeInternal, Status: 404}, "[not found]"},
		"an internal 500":         {&arc.Error{Code: arc.CodeInternal, Status: 500}, "[internal error]"},
		"a code beats its status": {&arc.Error{Code: arc.CodeTaskNotFound, Status: 503}, "[not found]"},
		"the class alone":         {fmt.Errorf("x: %w", arc.ErrExpired), "[authentication failed credential expired]"},
		"something else":          {cause, "[]"},
	} {
		if got := fmt.Sprint(matching(c.err)); got != c.want {
			t.Errorf("%s is %s, want %s", label, got, c.want)
		}
	}
	if !errors.Is(arc.Errorf(arc.CodeInternal, "").Because(cause), cause) {
		t.Error("the cause is not found behind the class")
	}
}

func TestClassOfStatus(t *testing.T) {
	for status, want := range map[int]arc.Class{
		0: "", 200: "", 302: "", 400: arc.ErrInvalid, 401: arc.ErrAuthentication, 403: arc.ErrPermission, 404: arc.ErrNotFound,
		405: arc.ErrInvalid, 407: arc.ErrAuthentication, 408: arc.ErrTimeout, 409: arc.ErrConflict, 410: arc.ErrNotFound,
		412: arc.ErrConflict, 413: arc.ErrInvalid, 422: arc.ErrInvalid, 429: arc.ErrRateLimited, 500: arc.ErrInternal,
		501: arc.ErrInternal, 502: arc.ErrUnavailable, 503: arc.ErrUnavailable, 504: arc.ErrTimeout,
	} {
		if got := arc.ClassOfStatus(status); got != want {
			t.Errorf("status %d has class %q, want %q", status, got, want)
		}
	}
}
