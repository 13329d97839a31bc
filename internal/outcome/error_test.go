package outcome_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arcd-io/arcd/internal/outcome"
)

// errorSchema is the schema of error objects, that of the command line's own
// tests.
var errorSchema = sync.OnceValue(func() *jsonschema.Schema {
	return jsonschema.NewCompiler().MustCompile(filepath.Join("..", "cli", "testdata", "schema", "error.json"))
})

// valid checks that an error keeps the contract once the command line has filled
// in how the credential is cured. It gives the JSON.
func valid(t *testing.T, label string, e *outcome.Error) []byte {
	t.Helper()
	whole := *e
	whole.ExitName = e.Exit.Name()
	if e.Auth != nil {
		auth := *e.Auth
		auth.ReauthCommand, auth.ReauthEnvVar, auth.Hint = "arcd auth refresh", "ARCD_TOKEN", "Run it."
		whole.Auth = &auth
	}
	doc, err := json.Marshal(&whole)
	if err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(doc)))
	if err == nil {
		err = errorSchema().Validate(value)
	}
	if err != nil {
		t.Errorf("%s: %v\n%.1000s", label, err, doc)
	}
	return doc
}

// authKeys are the keys of contract section 2.4 that are on every error about
// credentials.
var authKeys = []string{
	"expired", "expired_at", "expires_at", "reauth_command", "reauth_env_var", "refresh_command", "required_permission", "hint", "auth_methods",
	"refreshable", "detected_by", "credential_source",
}

func TestAuthBlockIsWhole(t *testing.T) {
	for label, e := range map[string]*outcome.Error{
		"CREDENTIALS_EXPIRED": outcome.Classify(wired(-44004, 401), live), "AUTH_REQUIRED": outcome.Classify(plain(401), nobody),
		"TOKEN_INVALID": outcome.Classify(plain(401), live), "PERMISSION_DENIED": outcome.Classify(wired(-44006, 403), live),
	} {
		var object map[string]any
		if err := json.Unmarshal(valid(t, label, e), &object); err != nil {
			t.Fatal(err)
		}
		if object["code"] != label {
			t.Errorf("%s: the code is %v", label, object["code"])
		}
		for _, key := range authKeys {
			if _, ok := object[key]; !ok {
				t.Errorf("%s has no %s", label, key)
			}
		}
		if _, ok := object["auth_methods"].([]any); !ok {
			t.Errorf("%s: auth_methods is %v", label, object["auth_methods"])
		}
	}
	var object map[string]any
	if err := json.Unmarshal(valid(t, "other", outcome.Errorf(outcome.NotFound, "It is gone.")), &object); err != nil {
		t.Fatal(err)
	}
	for _, key := range authKeys {
		if _, ok := object[key]; ok {
			t.Errorf("NOT_FOUND has %s", key)
		}
	}
}

// TestEveryFieldIsEncoded: MarshalJSON leaves none out, also not those of the block
// about credentials, which is embedded.
func TestEveryFieldIsEncoded(t *testing.T) {
	e := outcome.Errorf(outcome.Expired, "It <ran> out & is over.")
	e.Auth, e.Network = &outcome.Auth{}, &outcome.Network{}
	doc, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(doc, &object); err != nil {
		t.Fatal(err)
	}
	for _, block := range []any{outcome.Error{}, outcome.Auth{}} {
		for _, field := range reflect.VisibleFields(reflect.TypeOf(block)) {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if _, ok := object[name]; name != "" && options == "" && !ok {
				t.Errorf("there is no %s in %s", name, doc)
			}
		}
	}
	network, _ := object["network_context"].(map[string]any)
	for _, name := range []string{"url", "status_code", "proxy_used", "proxy_source", "no_proxy", "ssl_verify", "suggestion"} {
		if _, ok := network[name]; !ok {
			t.Errorf("network_context has no %s: %v", name, network)
		}
	}
}

// TestClose: ok, the exit codes and the error say the same.
func TestClose(t *testing.T) {
	failed := outcome.Errorf(outcome.Expired, "It ran out.")
	for label, test := range map[string]struct {
		err      *outcome.Error
		warnings []outcome.Warning
		exit     outcome.Exit
	}{
		"done":                {nil, nil, 0},
		"done, with warnings": {nil, []outcome.Warning{{Code: "SOON", Message: "it runs out"}}, 0},
		"failed":              {failed, nil, 10},
		"without exit code":   {&outcome.Error{Code: outcome.NotFound, Message: "x"}, nil, 5},
	} {
		v := outcome.Envelope{Meta: &outcome.Meta{SchemaVersion: outcome.Version, ConfigSources: []string{}}}
		exit := v.Close(map[string]int{"a": 1}, test.err, test.warnings)
		doc, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		type numbered struct {
			OK   bool   `json:"ok"`
			Exit int    `json:"exit_code"`
			Name string `json:"exit_name"`
		}
		var got struct {
			OK       *bool
			Data     map[string]int
			Error    *numbered
			Warnings []string
			Meta     numbered
		}
		if err := json.Unmarshal(doc, &got); err != nil {
			t.Fatal(err)
		}
		if exit != test.exit || got.OK == nil || *got.OK != (exit == 0) || got.Meta.OK != *got.OK || got.Meta.Exit != int(exit) || (got.Error == nil) != *got.OK {
			t.Errorf("%s: exit code %d, want %d: %s", label, exit, test.exit, doc)
		}
		if got.Error != nil && (got.Error.Exit != int(exit) || got.Error.Name != exit.Name()) {
			t.Errorf("%s: the error has exit code %v (%v)", label, got.Error.Exit, got.Error.Name)
		}
		if got.Warnings == nil || len(got.Warnings) != len(test.warnings) || len(test.warnings) > 0 && got.Warnings[0] != "SOON: it runs out" {
			t.Errorf("%s: warnings %q", label, got.Warnings)
		}
		if len(got.Data) != 1 {
			t.Errorf("%s: data is lost: %s", label, doc)
		}
	}
	var members map[string]json.RawMessage
	doc, err := json.Marshal(outcome.Envelope{})
	if err == nil {
		err = json.Unmarshal(doc, &members)
	}
	if err != nil || len(members) != 5 {
		t.Errorf("an envelope has the members %s, %v", doc, err)
	}
}

func TestInvalid(t *testing.T) {
	one := outcome.Problem{Code: outcome.Validation, Field: "--agent", Message: "is missing", Suggestion: "Name it."}
	e := outcome.Invalid(one)
	if e.Exit != 2 || e.Phase != "validation" || e.Message != "--agent is missing." || e.Suggestion != "Name it." {
		t.Errorf("one problem: %+v", e)
	}
	e = outcome.Invalid(one, one)
	if !strings.Contains(e.Message, "2 things") || len(e.Errors) != 2 || e.Suggestion != outcome.Validation.Cure() {
		t.Errorf("two problems: %+v", e)
	}
	valid(t, "two problems", e)
}

func TestOf(t *testing.T) {
	cause := errors.New("disk on fire")
	if e := outcome.Of(cause); e.Code != outcome.General || e.Message != "Disk on fire." || !errors.Is(e, cause) {
		t.Errorf("any error: %+v", e)
	}
	e := outcome.Errorf(outcome.LockHeld, "It is locked.").Because(cause).After(0).Suggest("Wait %d s.", 1)
	if got := outcome.Of(errors.Join(cause, e)); got != e || got.RetryAfterMS != 1 || !got.Retryable || got.Suggestion != "Wait 1 s." {
		t.Errorf("one of ours: %+v", got)
	}
	if strings.Contains(e.Error(), "fire") || strings.Contains(string(valid(t, "lock", e)), "fire") {
		t.Error("the private cause is shown")
	}
}

func TestInstant(t *testing.T) {
	for label, test := range map[string]struct {
		at   time.Time
		want string
	}{
		"zero":         {time.Time{}, ""},
		"epoch":        {time.Unix(0, 0), "1970-01-01T00:00:00Z"},
		"another zone": {time.Date(2026, 5, 4, 12, 15, 0, 999, time.FixedZone("", 7200)), "2026-05-04T10:15:00Z"},
	} {
		if diff := cmp.Diff(test.want, text(outcome.Instant(test.at))); diff != "" {
			t.Errorf("%s: %s", label, diff)
		}
	}
}
