package registry

import (
	"math"

	"github.com/arcd-io/arcd/arc"
)

// checkLogin checks the sizes of a login (contract section 1.1). What is missing,
// and the form of agents, is judged elsewhere: those have answers of their own.
func checkLogin(p *arc.LoginParams) []arc.FieldIssue {
	var f form
	f.bytes("username", p.Username, 255)
	f.bytes("password", p.Password, 1024)
	f.bytes("agent_id", p.AgentID, 100)
	f.bytes("agent_type", p.AgentType, 50)
	f.bytes("agent_key", p.AgentKey, 200)
	return f.issues
}

// bytes checks the longest length of a text that is compared, not shown.
func (f *form) bytes(field, s string, max int) {
	if len(s) > max {
		f.bad(field, nil, "must have at most %d bytes", max)
	}
}

// checkTempToken checks what a temp token is asked for with. Empty fields pass:
// what is missing has an answer of its own. Keys have no least length; a key is
// valid if and only if it is configured (contract section 2.5).
func checkTempToken(p *arc.TempTokenParams) []arc.FieldIssue {
	var f form
	if p.AgentID != "" {
		f.agentID("agent_id", p.AgentID, 100)
	}
	if p.AgentType != "" {
		f.agentType("agent_type", p.AgentType)
	}
	f.bytes("agent_key", p.AgentKey, 200)
	return f.issues
}

// hashForm is SHA-256 in hexadecimal.
var hashForm = newForm(`^[A-Fa-f0-9]{64}$`)

// checkMint checks the request for a minted token (contract section 1.2) and fills
// in the role. Which words are minted is judged elsewhere.
func checkMint(p *arc.MintParams) []arc.FieldIssue {
	var f form
	f.word("user_id", p.UserID, 2, 100, userForm, userNamed)
	f.agentID("agent_id", p.AgentID, 100)
	if f.count("scopes", len(p.Scopes), 0, 50) {
		for i, scope := range p.Scopes {
			f.word(item("scopes", i), scope, 1, 100, scopeForm, scopeNamed)
		}
	}
	p.Scopes = nonNil(p.Scopes)
	defaultTo(&p.Role, "user")
	f.oneOf("role", p.Role, "user", "agent", "admin")
	if p.AgentType != "" {
		f.agentType("agent_type", p.AgentType)
	}
	if p.UsedKey != "" {
		f.hidden("used_key", p.UsedKey, 3, 100, userForm, userNamed)
	}
	if p.AgentKeyHash != "" && !hashForm.matches(p.AgentKeyHash) {
		f.bad("agent_key_hash", nil, "must be a SHA-256 in hexadecimal")
	}
	if p.Audience != "" {
		f.line("aud", &p.Audience, 1, 255)
	}
	if p.TokenType != "" {
		f.oneOf("token_type", p.TokenType, kindTemp, kindValidated, kindAccess)
	}
	return f.issues
}

// checkSearch checks a search (contract section 4.4) and fills in its defaults.
func checkSearch(p *arc.SearchParams) []arc.FieldIssue {
	var f form
	f.prose("query", &p.Query, 2, 1000)
	if p.TopK == nil {
		p.TopK = new(10)
	}
	f.between("top_k", p.TopK, 1, 100)
	if p.MinSimilarity == nil {
		p.MinSimilarity = new(0.5)
	}
	if s := *p.MinSimilarity; !(s >= 0 && s <= 1) { // refuses NaN too
		f.bad("min_similarity", s, "must be a number from 0 to 1")
	}
	if p.Capabilities != nil {
		f.abilities("capabilities", p.Capabilities, 20)
	}
	if p.AgentType != "" {
		f.agentType("agent_type", p.AgentType)
	}
	return f.issues
}

// maxInfo is the largest additional_info of a connection in bytes of JSON.
const maxInfo = 16 << 10

// checkConnect checks the request for a connection (contract section 1.4) and
// fills in the name.
func checkConnect(p *arc.ConnectParams) []arc.FieldIssue {
	var f form
	f.word("user_id", p.UserID, 2, 100, userForm, userNamed)
	f.url("user_endpoint", p.UserEndpoint)
	f.line("display_name", &p.DisplayName, 0, 200)
	defaultTo(&p.DisplayName, "Anonymous User")
	if len(p.AdditionalInfo) > 50 {
		f.bad("additional_info", nil, "must have at most 50 members")
		return f.issues
	}
	for key, value := range p.AdditionalInfo {
		f.key("additional_info", key)
		switch value.(type) {
		case []any, map[string]any:
			f.nesting(member("additional_info", key), value)
		default:
			f.scalar(member("additional_info", key), value)
		}
	}
	if sizeOf(p.AdditionalInfo) > maxInfo {
		f.bad("additional_info", nil, "must have at most %d bytes", maxInfo)
	}
	return f.issues
}

// checkMetrics checks what an agent reports of itself, a free object. Members that
// are not known are passed over, and so are those that the server makes: agent_id,
// last_active and reputation_score (flaw W18).
func checkMetrics(report map[string]any) []arc.FieldIssue {
	const hour, exact = 3600, 1 << 53
	var f form
	f.number(report, "success_rate", 1, false)
	f.number(report, "error_rate", 1, false)
	f.number(report, "avg_response_time", hour, false)
	f.number(report, "average_response_time", hour, false)
	f.number(report, "total_requests", exact, true)
	f.number(report, "requests_processed", exact, true)
	return f.issues
}

// number checks a member that is a number from 0 to max. Null is as if it were
// absent.
func (f *form) number(m map[string]any, field string, max float64, whole bool) {
	value := m[field]
	if value == nil {
		return
	}
	n, ok := value.(float64)
	if !ok || !(n >= 0 && n <= max) || whole && n != math.Trunc(n) { // refuses NaN too
		kind := "number"
		if whole {
			kind = "whole number"
		}
		f.bad(field, value, "must be a %s from 0 to %.0f", kind, max)
	}
}

// nested tells how deep lists and objects lie in each other; 0 for a scalar.
func nested(value any) int {
	deepest := 0
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			deepest = max(deepest, nested(inner))
		}
	case []any:
		for _, inner := range v {
			deepest = max(deepest, nested(inner))
		}
	default:
		return 0
	}
	return deepest + 1
}

// nesting bounds how deep a free value goes.
func (f *form) nesting(field string, value any) {
	const most = 8
	if nested(value) > most {
		f.bad(field, nil, "is nested deeper than %d levels", most)
	}
}
