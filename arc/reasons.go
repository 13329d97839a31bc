package arc

import (
	"slices"
	"strings"
)

// reasons are the words that a problem goes out with, where they are others than
// the one made of its name (contract section 2.2). A test compares the list with
// what is written in the code.
var reasons = map[Problem][]string{
	ProblemDuplicateAgent: {"duplicate_agent", "idempotency_conflict"},
	ProblemRegistration:   {"agent_key_in_use", "not_validated", "agent_key_mismatch", "agent_id_mismatch", "registry_full"},
	ProblemAuthentication: {
		"invalid_credentials", "auth_required", "invalid_agent_key", "agent_login_blocked", "fingerprint_required", "no_provider",
	},
	ProblemToken: {
		"token_expired", "invalid_signature", "malformed_token", "missing_claims", "invalid_audience", "token_not_yet_valid",
		"token_revoked", "wrong_token_type", "token_already_used", "refresh_too_old",
	},
	ProblemHeaderMissing: {"header_missing"},
	ProblemURL:           {"invalid_url", "address_not_allowed"},
	ProblemRateLimit:     {"rate_limited", "too_many_sockets"},
	ProblemTimeout:       {"operation_timeout", "timeout"},
	ProblemTooLarge:      {"request_too_large"},
	ProblemRequest:       {"request_error", "body_unreadable", "body_timeout"},
	ProblemForbidden:     {"forbidden", "cross_origin", "host_not_allowed"},
	ProblemUnavailable:   {"service_unavailable", "keys_unavailable", "revocations_unknown", "busy", "draining"},
}

// Reasons gives the snake_case words that say why a problem of this kind
// occurred, as in [Refuse]; the first is the most usual one. The caller may keep
// and change the list.
func (p Problem) Reasons() []string {
	if list := reasons[p]; list != nil {
		return slices.Clone(list)
	}
	return []string{strings.ReplaceAll(string(p), "-", "_")}
}

// ErrorCodes gives the reasons as problem documents show them.
func (p Problem) ErrorCodes() []string {
	list := p.Reasons()
	for i, reason := range list {
		list[i] = strings.ToUpper(reason)
	}
	return list
}
