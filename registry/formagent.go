package registry

import (
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// maxRegistration is the largest registration in bytes of JSON: every listing
// carries it.
const maxRegistration = 64 << 10

// publicKeyForm are the characters of base64, hex and PEM.
var publicKeyForm = newForm(`^[A-Za-z0-9+/=_\s-]*$`)

// checkRegistration checks p against the limits of contract section 4.1 and
// normalises it: blanks around texts are cut, absent lists become empty,
// requirements get their plain form. It is at least as strict as the models of
// the published client, which reads every record with them and fails a whole
// listing for one bad record.
func checkRegistration(p *arc.Registration) []arc.FieldIssue {
	var f form
	f.agentID("agent_id", p.AgentID, 100)
	f.line("name", &p.Name, 2, 32)
	f.agentType("agent_type", p.AgentType)
	f.url("endpoint", p.Endpoint)
	f.prose("context_brief", &p.ContextBrief, 10, 1000)
	f.abilities("capabilities", p.Capabilities, 50)
	f.line("owner", &p.Owner, 2, 50)
	p.PublicKey = strings.TrimSpace(p.PublicKey)
	f.hidden("public_key", p.PublicKey, 32, 1024, publicKeyForm, "base64, hex or PEM")
	f.metadata("metadata", p.Metadata)
	f.version("version", p.Version)
	f.oneOf("communication_mode", p.CommunicationMode, modes...)
	f.optional(p)
	if len(f.issues) == 0 {
		if b, err := jsonv2.Marshal(p); err != nil || len(b) > maxRegistration {
			f.bad("body", nil, "must have at most %d bytes", maxRegistration)
		}
	}
	return f.issues
}

// optional checks and normalises what a registration may leave out.
func (f *form) optional(p *arc.Registration) {
	p.Features = f.labels("features", p.Features, 100, 100)
	f.between("max_tokens", p.MaxTokens, 1, 1_000_000)
	f.count("language_support", len(p.LanguageSupport), 0, 20)
	for i, code := range p.LanguageSupport {
		p.LanguageSupport[i] = strings.ToLower(code)
		f.word(item("language_support", i), code, 2, 5, idForm, idNamed)
	}
	if len(p.LanguageSupport) == 0 {
		p.LanguageSupport = nil
	}
	f.between("rate_limit", p.RateLimit, 1, 10_000)
	p.Requirements = f.requirements(p.Requirements)
	p.PolicyTags = f.labels("policy_tags", p.PolicyTags, 20, 50)
	if p.AIContext != nil {
		f.prose("ai_context", p.AIContext, 0, 5000)
		if *p.AIContext == "" {
			p.AIContext = nil
		}
	}
}

// labels checks a list of at most most texts of 1 to size characters. It gives
// an empty list for none.
func (f *form) labels(field string, list []string, most, size int) []string {
	if f.count(field, len(list), 0, most) {
		for i := range list {
			f.line(item(field, i), &list[i], 1, size)
		}
	}
	return nonNil(list)
}

// version checks N.N.N, optionally with a suffix.
func (f *form) version(field, v string) {
	if len(v) > maxVersion || !versionForm.matches(v) {
		f.bad(field, v, "must look like 1.0.0 or 1.0.0-beta1 and have at most %d characters", maxVersion)
	}
}

// metadata checks an object of 1 to 50 members whose values are texts, numbers,
// true or false, or lists of those.
func (f *form) metadata(field string, m map[string]any) {
	if len(m) < 1 || len(m) > 50 {
		f.bad(field, nil, "must have 1 to 50 members")
		return
	}
	for key, value := range m {
		f.key(field, key)
		list, isList := value.([]any)
		if !isList {
			f.scalar(member(field, key), value)
			continue
		}
		if !f.count(member(field, key), len(list), 0, 100) {
			continue
		}
		for i, v := range list {
			f.scalar(item(member(field, key), i), v)
		}
	}
}

// key checks the name of a member that callers choose.
func (f *form) key(field, key string) { f.kept(member(field, key), key, 1, 100, "") }

// scalar checks a text of at most 1,000 characters, a finite number, or a truth
// value.
func (f *form) scalar(field string, value any) {
	switch v := value.(type) {
	case string:
		f.kept(field, v, 0, 1000, lineBreaks)
	case float64:
		if !finite(v) {
			f.bad(field, nil, "must be a finite number")
		}
	case bool:
	default:
		f.bad(field, nil, "must be a text, a number, true or false, or a list of these")
	}
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// url checks an absolute http or https URL.
func (f *form) url(field, s string) {
	if issue := urlIssue(s); issue != "" {
		f.bad(field, nil, "%s", issue) // a URL may hold a password
	}
}

// urlForm holds the characters of RFC 3986, besides those that no parser of the
// web takes in a URL as they are.
var urlForm = newForm(`^https?://[A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]+$`)

// urlIssue says what is wrong with a URL; "": nothing. Only what all parsers read
// the same way passes: RFC 3986 with a host in ASCII and no user or fragment.
func urlIssue(s string) string {
	if len(s) > maxEndpoint {
		return "must have at most " + strconv.Itoa(maxEndpoint) + " bytes"
	}
	const general = "must be an absolute http or https URL without a user and a fragment"
	if !urlForm.matches(s) {
		return general
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || strings.Contains(u.Host, "@") {
		return general
	}
	_, afterScheme, _ := strings.Cut(s, "://")
	if len(afterScheme) < 2 || !validHost(u.Hostname(), strings.HasPrefix(u.Host, "[")) {
		return "must name a host or an IP address"
	}
	if _, port, ok := strings.Cut(strings.TrimPrefix(u.Host, "["+u.Hostname()+"]"), ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
			return "must have a port from 1 to 65535, or none"
		}
	}
	return ""
}

// numericLabel is a last label that makes a host an IPv4 address for the WHATWG
// URL parser, whatever its form.
var numericLabel = newForm(`^([0-9]+|0[xX][0-9A-Fa-f]*)$`)

// validHost tells whether a host is an IP address in its plain form or a DNS name.
func validHost(host string, bracketed bool) bool {
	labels := strings.Split(host, ".")
	if bracketed || numericLabel.matches(labels[len(labels)-1]) {
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.Zone() == "" && ip.Is6() == bracketed
	}
	if len(host) > 253 {
		return false
	}
	for _, label := range labels {
		if len(label) < 1 || len(label) > 63 || !idForm.matches(label) || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// checkCompliance checks what phase 2 of a registration asks for (contract
// section 1.1) and fills in the mode.
func checkCompliance(p *arc.ComplianceParams) []arc.FieldIssue {
	var f form
	f.agentID("agent_id", p.AgentID, 64)
	f.agentType("agent_type", p.AgentType)
	f.url("endpoint", p.Endpoint)
	f.abilities("capabilities", p.Capabilities, 64)
	defaultTo(&p.CommunicationMode, modes[0])
	f.oneOf("communication_mode", p.CommunicationMode, modes...)
	if p.Version != "" {
		f.version("version", p.Version)
	}
	return f.issues
}
