package registry

import (
	"maps"
	"math"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
)

// goodAgent is a registration that passes, with all members.
const goodAgent = `{
	"agent_id": "scan-001", "name": "Scanner", "agent_type": "security", "endpoint": "https://scanner.example:8443/arc?x=1",
	"context_brief": "Looks for open doors.\nDaily.", "capabilities": ["vulnerability scan", "compliance-check"],
	"owner": "system@example.com", "public_key": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
	"metadata": {"team": "blue", "level": 3, "live": true, "tags": ["a", 1, false]}, "version": "1.0.0-beta1",
	"communication_mode": "remote", "features": ["fast"], "max_tokens": 4096, "language_support": ["en", "pt-BR"],
	"rate_limit": 60, "policy_tags": ["gdpr"], "ai_context": "POST /scan",
	"requirements": {"system_requirements": ["linux"], "network_ports": ["8080", "8000-8999", 22], "minimum_memory_mb": 512,
		"requires_internet": false, "schema_version": "1.0", "user_configuration": {"depth": {"max": 3}}, "unknown": 1,
		"required_fields": [{"name": "target", "label": "Target", "type": "text", "validation": "^[a-z]+$"}],
		"optional_fields": [{"name": "speed", "label": "Speed", "type": "select", "options": ["slow", "fast"], "default_value": "slow", "category": "run"}]}
}`

// registration decodes goodAgent with some members replaced; null removes one.
func registration(t *testing.T, changes string) (*arc.Registration, error) {
	t.Helper()
	members := map[string]any{}
	for _, text := range []string{goodAgent, changes} {
		var part map[string]any
		if err := jsonv2.Unmarshal([]byte(text), &part); err != nil {
			t.Fatal(err)
		}
		maps.Copy(members, part)
	}
	b, err := jsonv2.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	p := new(arc.Registration)
	return p, jsonv2.Unmarshal(b, p)
}

// fieldsOf names the fields of issues, without doubles.
func fieldsOf(issues []arc.FieldIssue) string {
	var names []string
	for _, issue := range issues {
		if len(names) == 0 || names[len(names)-1] != issue.Field {
			names = append(names, issue.Field)
		}
	}
	return strings.Join(names, " ")
}

func TestRegistrationIsNormalised(t *testing.T) {
	p, err := registration(t, `{"name": "  Scanner\t", "language_support": ["EN"], "ai_context": "  ", "features": null, "policy_tags": null}`)
	if err != nil {
		t.Fatal(err)
	}
	if issues := checkRegistration(p); len(issues) > 0 {
		t.Fatalf("refused: %v", issues)
	}
	want := arc.Requirements{
		"system_requirements": []any{"linux"}, "network_ports": []any{"8080", "8000-8999", "22"}, "minimum_memory_mb": 512.0,
		"requires_internet": false, "schema_version": "1.0", "user_configuration": map[string]any{"depth": map[string]any{"max": 3.0}},
		"required_fields": []any{map[string]any{"name": "target", "label": "Target", "type": "text", "validation": "^[a-z]+$"}},
		"optional_fields": []any{map[string]any{"name": "speed", "label": "Speed", "type": "select",
			"options": []any{"slow", "fast"}, "default_value": "slow", "category": "run"}},
	}
	if diff := cmp.Diff(want, p.Requirements); diff != "" {
		t.Error("requirements:", diff)
	}
	if p.Name != "Scanner" || p.LanguageSupport[0] != "en" || p.AIContext != nil || p.Features == nil || p.PolicyTags == nil {
		t.Errorf("not normalised: %+v", p)
	}
	if strings.HasSuffix(p.PublicKey, "\n") {
		t.Error("the blank behind the key is still there")
	}
}

func TestRegistrationTakesRequirementsAsText(t *testing.T) {
	p, err := registration(t, `{"requirements": " {\"schema_version\": \"2.0\", \"permissions\": null} "}`)
	if err != nil || len(checkRegistration(p)) > 0 {
		t.Fatalf("refused: %v, %v", err, checkRegistration(p))
	}
	if diff := cmp.Diff(arc.Requirements{"schema_version": "2.0"}, p.Requirements); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{`{"requirements": ""}`, `{"requirements": {}}`, `{"requirements": null}`} {
		if p, err := registration(t, empty); err != nil || len(checkRegistration(p)) > 0 || p.Requirements != nil {
			t.Errorf("%s: %v, %v", empty, err, p.Requirements)
		}
	}
}

// long gives n characters of more than one byte each.
func long(n int) string { return strings.Repeat("é", n) }

func TestRegistrationLimits(t *testing.T) {
	for changes, want := range map[string]string{
		`{"agent_id": "ab"}`:                                        "agent_id",
		`{"agent_id": "_abc"}`:                                      "agent_id",
		`{"agent_id": "-abc"}`:                                      "agent_id",
		`{"agent_id": "a.b.c"}`:                                     "agent_id",
		`{"agent_id": " scan-001"}`:                                 "agent_id",
		`{"agent_id": "Report-Metrics"}`:                            "agent_id",
		`{"agent_id": "STATS"}`:                                     "agent_id",
		`{"agent_id": "` + strings.Repeat("a", 101) + `"}`:          "agent_id",
		`{"agent_id": "` + strings.Repeat("a", 100) + `"}`:          "",
		`{"name": "` + long(32) + `"}`:                              "",
		`{"name": "` + long(33) + `"}`:                              "name",
		`{"name": " é "}`:                                           "name",
		`{"name": "a\u0007b"}`:                                      "name",
		`{"name": "a\nb"}`:                                          "name",
		`{"name": "a\u202eb"}`:                                      "name",
		`{"agent_type": "x"}`:                                       "agent_type",
		`{"agent_type": "a b"}`:                                     "agent_type",
		`{"context_brief": "too short"}`:                            "context_brief",
		`{"context_brief": "` + long(1001) + `"}`:                   "context_brief",
		`{"capabilities": []}`:                                      "capabilities",
		`{"capabilities": null}`:                                    "capabilities",
		`{"capabilities": ["ok", "x"]}`:                             "capabilities[1]",
		`{"capabilities": ["a.b"]}`:                                 "capabilities[0]",
		`{"capabilities": [""]}`:                                    "capabilities[0]",
		`{"owner": "a"}`:                                            "owner",
		`{"public_key": "your-public-key"}`:                         "public_key",
		`{"public_key": "` + strings.Repeat("a.", 20) + `"}`:        "public_key",
		`{"metadata": {}}`:                                          "metadata",
		`{"metadata": null}`:                                        "metadata",
		`{"metadata": {"a": null}}`:                                 "metadata.a",
		`{"metadata": {"a": {"b": 1}}}`:                             "metadata.a",
		`{"metadata": {"a": [{"b": 1}]}}`:                           "metadata.a[0]",
		`{"metadata": {"": 1}}`:                                     "metadata.",
		`{"metadata": {"a": "` + long(1001) + `"}}`:                 "metadata.a",
		`{"metadata": {"a": " ` + strings.Repeat("v", 1000) + `"}}`: "metadata.a", // blanks stay there, so they count
		`{"metadata": {" ` + strings.Repeat("k", 100) + `": 1}}`:    "metadata. " + strings.Repeat("k", 39) + "…",
		`{"version": "1.0"}`:                                        "version",
		`{"version": "1.0.0\n"}`:                                    "version",
		`{"version": "v1.0.0"}`:                                     "version",
		`{"version": "1.0.0-a.b"}`:                                  "version",
		`{"communication_mode": "Remote"}`:                          "communication_mode",
		`{"communication_mode": ""}`:                                "communication_mode",
		`{"features": ["` + long(101) + `"]}`:                       "features[0]",
		`{"max_tokens": 0}`:                                         "max_tokens",
		`{"max_tokens": 1000001}`:                                   "max_tokens",
		`{"rate_limit": 10001}`:                                     "rate_limit",
		`{"language_support": ["english"]}`:                         "language_support[0]",
		`{"language_support": []}`:                                  "",
		`{"policy_tags": [" "]}`:                                    "policy_tags[0]",
		`{"ai_context": "` + long(5001) + `"}`:                      "ai_context",
		`{"name": "x", "owner": "y"}`:                               "name owner",
	} {
		p, err := registration(t, changes)
		if err != nil {
			t.Errorf("%.60s: %v", changes, err)
			continue
		}
		if got := fieldsOf(checkRegistration(p)); got != want {
			t.Errorf("%.60s: issues with %q, want %q", changes, got, want)
		}
	}
}

func TestRegistrationSize(t *testing.T) {
	p, err := registration(t, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	free := map[string]any{}
	for i := range 100 {
		free[strings.Repeat("k", i+1)] = strings.Repeat("v", 1000)
	}
	p.Requirements["user_configuration"] = free
	if got := fieldsOf(checkRegistration(p)); got != "body" {
		t.Errorf("issues with %q, want body", got)
	}
}

func TestRequirementsLimits(t *testing.T) {
	for requirements, want := range map[string]string{
		`{"system_requirements": "linux"}`:                                     "system_requirements",
		`{"permissions": [1]}`:                                                 "permissions[0]",
		`{"permissions": [""]}`:                                                "permissions[0]",
		`{"minimum_system_version": "1.2.3-rc1"}`:                              "",
		`{"minimum_system_version": "v1"}`:                                     "minimum_system_version",
		`{"minimum_memory_mb": 1048576}`:                                       "",
		`{"minimum_memory_mb": 1048577}`:                                       "minimum_memory_mb",
		`{"minimum_memory_mb": 0}`:                                             "minimum_memory_mb",
		`{"minimum_disk_space_mb": 1.5}`:                                       "minimum_disk_space_mb",
		`{"requires_internet": "yes"}`:                                         "requires_internet",
		`{"network_ports": ["70000"]}`:                                         "network_ports[0]",
		`{"network_ports": ["90-80"]}`:                                         "network_ports[0]",
		`{"network_ports": ["http"]}`:                                          "network_ports[0]",
		`{"schema_version": "1"}`:                                              "schema_version",
		`{"user_configuration": []}`:                                           "user_configuration",
		`{"user_configuration": {"a": [[[[[[[[[1]]]]]]]]]}}`:                   "user_configuration",
		`{"required_fields": [{"name": "a", "label": "A"}]}`:                   "required_fields[0].type",
		`{"required_fields": [{"name": "a b", "label": "A", "type": "text"}]}`: "required_fields[0].name",
		`{"required_fields": [{"name": "a", "label": "A", "type": "text", "default_value": 1.5}]}`: "required_fields[0].default_value",
		`{"required_fields": [{"name": "a", "label": "A", "type": "text", "default_value": [1]}]}`: "required_fields[0].default_value[0]",
		`{"required_fields": [{"name": "a", "label": "A", "type": "text", "validation": "("}]}`:    "required_fields[0].validation",
		`{"optional_fields": [{"name": "a", "label": "A", "type": "text", "category": 5}]}`:        "optional_fields[0].category",
		`{"optional_fields": [7]}`: "optional_fields[0]",
	} {
		p, err := registration(t, `{"requirements": `+requirements+`}`)
		if err != nil {
			t.Errorf("%s: %v", requirements, err)
			continue
		}
		if want != "" {
			want = "requirements." + want
		}
		if got := fieldsOf(checkRegistration(p)); got != want {
			t.Errorf("%s: issues with %q, want %q", requirements, got, want)
		}
	}
}

func TestURLs(t *testing.T) {
	for u, ok := range map[string]bool{
		"http://localhost:8080":                    true,
		"https://agent.example.com/a/b?c=d":        true,
		"http://127.0.0.1":                         true,
		"http://[::1]:8080/":                       true,
		"http://xn--bcher-kva.example/":            true,
		"http://my_host/":                          true,
		"HTTP://localhost":                         false,
		"ftp://localhost":                          false,
		"http://":                                  false,
		"http:///path":                             false,
		"http://a":                                 false, // the published model wants two characters
		"http://a/":                                true,
		"http://user:secret@host/":                 false,
		"http://@host/":                            false,
		"http://host/#part":                        false,
		"http://host/a b":                          false,
		"http://host\\@other/":                     false,
		"http://host:0/":                           false,
		"http://host:/":                            false,
		"http://host:65536/":                       false,
		"http://host:080/":                         false,
		"http://256.1.1.1/":                        false,
		"http://127.1/":                            false,
		"http://0x7f000001/":                       false,
		"http://2130706433/":                       false,
		"http://1.2.3.4.5/":                        false,
		"http://[::1%25lo]/":                       false,
		"http://[127.0.0.1]/":                      false,
		"http://bücher.example/":                   false,
		"http://h%6fst/":                           false,
		"http://-host/":                            false,
		"http://host..example/":                    false,
		"http://host/%zz":                          false,
		"http://host/\n":                           false,
		"":                                         false,
		"http://host/" + strings.Repeat("a", 2048): false,
	} {
		if issue := urlIssue(u); (issue == "") != ok {
			t.Errorf("%.60q: %q", u, issue)
		}
	}
}

func TestPortablePatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		`^[a-z0-9._%+-]+@[a-z]{2,}$`: true,
		`\d{3}-\d{4}`:                true,
		`[\w.-]+`:                    true,
		`(?:a|b)+(?P<rest>.*)`:       true,
		``:                           true,
		`(`:                          false,
		`(?=a)`:                      false,
		`(?i)a`:                      false,
		`(?P<1a>x)`:                  false,
		`(?<a>x)`:                    false,
		`\pL`:                        false,
		`\z`:                         false,
		`\Qa\E`:                      false,
		`\1`:                         false,
		`\12`:                        false,
		`\x{41}`:                     false,
		`\x41`:                       true,
		`[[:alpha:]]`:                false,
		`[\d-z]`:                     false,
		`^*`:                         false,
		`\b+`:                        false,
		`(?P<a>x)(?P<a>y)`:           false,
		`a{,3}`:                      false,
		`a**`:                        false,
		strings.Repeat("(", 40) + strings.Repeat(")", 40): false,
	} {
		if got := portable(pattern); got != ok {
			t.Errorf("%.40q: %v", pattern, got)
		}
	}
}

func TestOtherForms(t *testing.T) {
	name := strings.Repeat("n", 256)
	for label, test := range map[string]struct {
		issues []arc.FieldIssue
		want   string
	}{
		"login":              {checkLogin(&arc.LoginParams{Username: "ARCP", Password: "ARCP"}), ""},
		"login too long":     {checkLogin(&arc.LoginParams{Username: name, Password: strings.Repeat("p", 1025)}), "username password"},
		"temp":               {checkTempToken(&arc.TempTokenParams{AgentID: "my-agent", AgentType: "processing", AgentKey: "k"}), ""},
		"temp, all missing":  {checkTempToken(&arc.TempTokenParams{}), ""},
		"temp, bad":          {checkTempToken(&arc.TempTokenParams{AgentID: "a/b/c", AgentType: "?", AgentKey: name}), "agent_id agent_type agent_key"},
		"temp, reserved":     {checkTempToken(&arc.TempTokenParams{AgentID: "Search", AgentType: "unknown", AgentKey: "k"}), "agent_id"},
		"mint":               {checkMint(&arc.MintParams{UserID: "a@b.c", AgentID: "my-agent", Scopes: []string{"arc.task:x"}}), ""},
		"mint, bad role":     {checkMint(&arc.MintParams{UserID: "a@b.c", AgentID: "my-agent", Role: "root"}), "role"},
		"mint, bad scope":    {checkMint(&arc.MintParams{UserID: "a@b.c", AgentID: "my-agent", Scopes: []string{"a b"}}), "scopes[0]"},
		"mint, empty":        {checkMint(&arc.MintParams{}), "user_id agent_id"},
		"mint, hash":         {checkMint(&arc.MintParams{UserID: "ab", AgentID: "abc", AgentKeyHash: "x", UsedKey: "?!?"}), "used_key agent_key_hash"},
		"search":             {checkSearch(&arc.SearchParams{Query: " ab "}), ""},
		"search, one letter": {checkSearch(&arc.SearchParams{Query: " a "}), "query"},
		"search, numbers":    {checkSearch(&arc.SearchParams{Query: "ab", TopK: new(101), MinSimilarity: new(math.NaN())}), "top_k min_similarity"},
		"search, no ability": {checkSearch(&arc.SearchParams{Query: "ab", Capabilities: []string{}}), "capabilities"},
		"connect":            {checkConnect(&arc.ConnectParams{UserID: "a@b", UserEndpoint: "http://h/u", AdditionalInfo: map[string]any{"a": map[string]any{"b": nil}}}), ""},
		"connect, bad":       {checkConnect(&arc.ConnectParams{UserID: "a b", UserEndpoint: "x", DisplayName: "a\x00b", AdditionalInfo: map[string]any{"a": nil}}), "user_id user_endpoint display_name additional_info.a"},
		"connect, large":     {checkConnect(&arc.ConnectParams{UserID: "ab", UserEndpoint: "http://h/u", AdditionalInfo: map[string]any{"a": []any{strings.Repeat("x", maxInfo)}}}), "additional_info"},
		"compliance":         {checkCompliance(&arc.ComplianceParams{AgentID: "abc", AgentType: "ab", Endpoint: "http://h/", Capabilities: []string{"ab"}}), ""},
		"compliance, bad":    {checkCompliance(&arc.ComplianceParams{AgentID: strings.Repeat("a", 65), AgentType: "ab", CommunicationMode: "x", Version: "1"}), "agent_id endpoint capabilities communication_mode version"},
	} {
		if got := fieldsOf(test.issues); got != test.want {
			t.Errorf("%s: issues with %q, want %q", label, got, test.want)
		}
	}
}

func TestFormsFillInDefaults(t *testing.T) {
	search := arc.SearchParams{Query: "  two words "}
	mint := arc.MintParams{UserID: "ab", AgentID: "abc"}
	connect := arc.ConnectParams{UserID: "ab", UserEndpoint: "http://h/u", DisplayName: " "}
	compliance := arc.ComplianceParams{AgentID: "abc", AgentType: "ab", Endpoint: "http://h/", Capabilities: []string{"ab"}}
	if n := len(checkSearch(&search)) + len(checkMint(&mint)) + len(checkConnect(&connect)) + len(checkCompliance(&compliance)); n > 0 {
		t.Fatalf("%d issues", n)
	}
	want := []any{"two words", 10, 0.5, "user", []string{}, "Anonymous User", "remote"}
	got := []any{search.Query, *search.TopK, *search.MinSimilarity, mint.Role, mint.Scopes, connect.DisplayName, compliance.CommunicationMode}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An agent cannot make its own reputation, or poison its record.
func TestW18MetricsReport(t *testing.T) {
	for report, want := range map[string]string{
		`{"success_rate": 1, "error_rate": 0, "total_requests": 5, "avg_response_time": 0.25}`:  "",
		`{"reputation_score": 99999, "agent_id": {"x": 1}, "last_active": "never", "more": []}`: "",
		`{"success_rate": null}`:        "",
		`{"success_rate": 1.01}`:        "success_rate",
		`{"success_rate": "1"}`:         "success_rate",
		`{"avg_response_time": 3601}`:   "avg_response_time",
		`{"average_response_time": -1}`: "average_response_time",
		`{"total_requests": 1.5}`:       "total_requests",
		`{"requests_processed": 1e300}`: "requests_processed",
		`{"error_rate": -1e-9}`:         "error_rate",
	} {
		var said map[string]any
		if err := jsonv2.Unmarshal([]byte(report), &said); err != nil {
			t.Fatal(err)
		}
		if got := fieldsOf(checkMetrics(said)); got != want {
			t.Errorf("%s: issues with %q, want %q", report, got, want)
		}
	}
	if got := fieldsOf(checkMetrics(map[string]any{"success_rate": math.NaN()})); got != "success_rate" {
		t.Errorf("NaN: issues with %q", got)
	}
}

func TestInvalidShowsValuesButNoSecrets(t *testing.T) {
	p, err := registration(t, `{"name": "x", "endpoint": "http://me:secret@host/", "public_key": "secret"}`)
	if err != nil {
		t.Fatal(err)
	}
	e := invalid(checkRegistration(p))
	want := []fieldError{
		{"name", "must have 2 to 32 characters", "x"},
		{"endpoint", "must be an absolute http or https URL without a user and a fragment", nil},
		{"public_key", "must have 32 to 1024 characters", nil},
	}
	if diff := cmp.Diff(want, e.Details["validation_errors"]); diff != "" {
		t.Error(diff)
	}
	if e.Kind() != arc.ProblemValidation || e.ErrorCode() != "VALIDATION_FAILED" || strings.Contains(e.Message, "secret") {
		t.Errorf("%v: %s", e.Kind(), e.Message)
	}
	for _, issues := range [][]arc.FieldIssue{
		checkTempToken(&arc.TempTokenParams{AgentKey: strings.Repeat("k", 201)}),
		checkMint(&arc.MintParams{UserID: "ab", AgentID: "abc", UsedKey: "!", AgentKeyHash: "1234"}),
		checkLogin(&arc.LoginParams{Password: strings.Repeat("p", 1025)}),
	} {
		for _, issue := range issues {
			if issue.Value != nil {
				t.Errorf("%s: shows %v", issue.Field, issue.Value)
			}
		}
	}
}

func TestInvalidIsShort(t *testing.T) {
	list := make([]string, 50)
	p, err := registration(t, `{}`)
	if err != nil {
		t.Fatal(err)
	}
	p.Capabilities = list
	issues := checkRegistration(p)
	if len(issues) != maxIssues {
		t.Errorf("%d issues, want %d", len(issues), maxIssues)
	}
	if e := invalid(issues); !strings.HasSuffix(e.Message, "; and 17 more") {
		t.Error(e.Message)
	}
}
