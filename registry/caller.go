package registry

import (
	"slices"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// Caller is who calls an operation.
type Caller struct {
	// Principal is what the token says. Nil: the call came without one.
	Principal *auth.Principal
	// Remote is the address of the other end, without a port.
	Remote string
	// RequestID names the call in logs and answers.
	RequestID string
	// Fingerprint is the header X-Client-Fingerprint; "": absent.
	Fingerprint string
	// IdempotencyKey is the header Idempotency-Key; "": absent.
	IdempotencyKey string

	// Replayed is set when the answer is that of an earlier, equal call.
	Replayed bool
}

// The kinds of tokens that arcd's own issuer signs for the registry, as claim
// token_type says (contract section 3.1).
const (
	kindTemp      = "temp"      // proves an agent key; opens a registration
	kindValidated = "validated" // and the endpoint was looked at
	kindAgent     = "agent"     // of a registered agent
	kindAdmin     = "admin"     // of a session
	kindAccess    = "access"    // minted by an administrator
	kindOther     = ""          // client credentials, and all outside providers
)

// kind tells what the caller's token is. Only arcd's own word counts: an outside
// provider may put what it likes into a claim of that name.
func (c *Caller) kind() string {
	if c.Principal == nil || c.Principal.Provider != auth.IssuerName {
		return kindOther
	}
	kind, _ := c.Principal.Claims["token_type"].(string)
	return kind
}

// role is how refusals call the caller (contract section 1.0).
func (c *Caller) role() string {
	switch {
	case c.Principal == nil:
		return "public"
	case c.kind() == kindAdmin:
		return "admin"
	}
	return "agent"
}

// Access is what a route asks of its caller.
type Access uint8

// The kinds of access.
const (
	// Admin is for sessions of administrators, with their fingerprint.
	Admin Access = iota + 1
	// AdminRead is Admin, but an absent fingerprint is tolerated; a wrong one is
	// not (decision D1 of the contract, section 8).
	AdminRead
	// Validating is for temp tokens only.
	Validating
	// Registering is for temp and validated tokens.
	Registering
	// Member is for whoever may change something of its own: agents and
	// administrators, and tokens that name agents and have arc.agent.receiver.
	Member
	// Holder is for whoever goes on with its token or gives it up, whatever scopes
	// it has; not for tokens for registering.
	Holder
	// Reader is for every good token, those for registering included.
	Reader
	// Public is for everybody.
	Public
)

// Admit tells whether the caller has that access. Whether it may touch a certain
// agent is decided by the operation.
//
// Errors: authentication-failed without a token; token-invalid 403 for a token
// of the wrong kind; session-invalid, session-expired; insufficient-permissions.
func (r *Registry) Admit(c *Caller, need Access) error {
	if need == Public {
		return nil
	}
	if c.Principal == nil {
		return noToken()
	}
	if missing := missingClaims(c); len(missing) > 0 {
		return claimsMissing(missing)
	}
	kind := c.kind()
	if kind == kindAdmin { // wherever an administrator comes, the session counts
		if err := r.checkSession(c, need == AdminRead); err != nil {
			return err
		}
	}
	if kind == kindTemp || kind == kindValidated {
		return admitTemporary(c, need)
	}
	switch need {
	case Admin, AdminRead:
		if kind != kindAdmin {
			return denied(c, "admin")
		}
	case Validating, Registering:
		return wrongKind("a token of /auth/agent/request_temp_token is needed here")
	case Member, Reader:
		return r.admitMember(c, need)
	case Holder: // any token will do
	}
	return nil
}

// admitTemporary keeps tokens that are for registering to that and to reading
// (decision D3 of the contract, section 8).
func admitTemporary(c *Caller, need Access) error {
	switch need {
	case Reader, Registering:
		return nil
	case Validating:
		if c.kind() == kindTemp {
			return nil
		}
		return wrongKind("the endpoint of this token was validated already")
	case Admin, AdminRead:
		return denied(c, "admin")
	}
	return wrongKind("a token for registering does not open this; register first")
}

// admitMember asks tokens that are not arcd's own kinds for a scope that has to do
// with agents: any other token of a trusted provider is for something else.
func (r *Registry) admitMember(c *Caller, need Access) error {
	switch c.kind() {
	case kindAgent, kindAdmin:
		return nil
	}
	wanted := []string{auth.ScopeServe}
	if need == Reader {
		wanted = []string{auth.ScopeCaller, auth.ScopeServe}
	}
	if slices.ContainsFunc(wanted, c.Principal.Has) {
		return nil
	}
	return denied(c, "agent").With("required_scopes", wanted).With("current_scopes", nonNil(c.Principal.Scopes))
}

// own refuses a change of an agent by anybody but itself and administrators. The
// token must name the agent: one that may speak as any agent owns none.
func own(c *Caller, id string) error {
	if c.kind() == kindAdmin || slices.Contains(c.Principal.Agents, id) {
		return nil
	}
	e := denied(c, "admin").With("agent_id", c.Principal.Agent()).With("target_agent_id", id)
	if e.Message = "The token names no agent, and so not '" + id + "'"; len(c.Principal.Agents) > 0 {
		e.Message = "The token is for the agent '" + c.Principal.Agent() + "', not for '" + id + "'"
	}
	return e
}

// missingClaims names what a token lacks that every token must have here
// (contract section 2.3, T5). The client id of RFC 9068 says as well as agent_id
// who is at work.
func missingClaims(c *Caller) []string {
	var missing []string
	p := c.Principal
	if p.Agents == nil && p.ClientID == "" {
		missing = append(missing, "agent_id")
	}
	if len(p.Scopes) == 0 && p.Claims["scopes"] == nil && p.Claims["scope"] == nil {
		missing = append(missing, "scopes")
	}
	return missing
}

// claimsMissing is the refusal of a token that lacks them.
func claimsMissing(names []string) *arc.Error {
	return arc.Refuse(arc.ProblemToken, "missing_claims", "JWT token is missing required claims").With("missing_claims", names)
}

// noToken is the refusal of a call that comes without credentials (contract
// section 2.4, A2).
func noToken() *arc.Error {
	return arc.Refuse(arc.ProblemAuthentication, "auth_required",
		"Authentication required - missing or invalid Authorization header")
}

// wrongKind refuses a good token that is not for this.
func wrongKind(why string) *arc.Error {
	e := arc.Refuse(arc.ProblemToken, "wrong_token_type", "The token is not for this: %s", why)
	e.Status = 403
	return e
}

// denied refuses a caller that lacks a role.
func denied(c *Caller, role string) *arc.Error {
	return arc.Refuse(arc.ProblemPermission, "insufficient_permissions", "This needs the role %s", role).
		With("required_role", role).With("current_role", c.role())
}

// nonNil makes an absent list an empty one, for the wire.
func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
