package client

import (
	"context"

	"github.com/arcd-io/arcd/arc"
)

// Login gives an administrator's token (POST /auth/login). It is bound to
// Client.Fingerprint, which goes with every request that uses the token: set the
// field first, to a text that only this client has.
func (c *Client) Login(ctx context.Context, username, password string) (*arc.TokenGrant, error) {
	p := post("/auth/login", arc.LoginParams{Username: username, Password: password}).anybody().secretly()
	return answered[arc.TokenGrant](ctx, c, p)
}

// Logout ends the token that the client uses, and the login it came from (POST
// /auth/logout).
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.page(ctx, post("/auth/logout", nil), nil)
	return err
}

// GetSession says how the administrator's login stands (GET
// /auth/session_status).
func (c *Client) GetSession(ctx context.Context) (*arc.SessionStatus, error) {
	return answered[arc.SessionStatus](ctx, c, get("/auth/session_status"))
}

// ValidateToken asks the server whether a token is good (POST /auth/validate),
// and what it holds. No other token is sent with it. A refusal is the error: with
// [arc.ErrExpired], say, it is the token asked about that has expired.
func (c *Client) ValidateToken(ctx context.Context, token string) (*arc.TokenVerdict, error) {
	return answered[arc.TokenVerdict](ctx, c, query("/auth/validate", arc.TokenParams{Token: token}).anybody().secretly())
}

// RenewToken gives another token like the one that the client uses, which itself
// ends (POST /tokens/refresh): an agent's, an administrator's or a minted one. It
// is no refresh token of OAuth; see [RefreshToken] for those.
func (c *Client) RenewToken(ctx context.Context) (*arc.TokenGrant, error) {
	return answered[arc.TokenGrant](ctx, c, post("/tokens/refresh", nil))
}

// MintToken makes a token for somebody (POST /tokens/mint). It needs an
// administrator's token.
func (c *Client) MintToken(ctx context.Context, p arc.MintParams) (*arc.TokenGrant, error) {
	return answered[arc.TokenGrant](ctx, c, post("/tokens/mint", p))
}

// RevokeToken ends tokens before their time: one, or all of a subject (POST
// /tokens/revoke). It needs an administrator's token.
func (c *Client) RevokeToken(ctx context.Context, p arc.RevokeParams) (*arc.Status, error) {
	return answered[arc.Status](ctx, c, query("/tokens/revoke", p).secretly()) // what has ended may end again
}

// RequestTempToken turns an agent key into a token for registering (POST
// /auth/agent/request_temp_token).
func (c *Client) RequestTempToken(ctx context.Context, p arc.TempTokenParams) (*arc.TempToken, error) {
	return answered[arc.TempToken](ctx, c, post("/auth/agent/request_temp_token", p).anybody().secretly())
}

// Registering says with what an agent registers. The zero value: with the
// client's own token.
type Registering struct {
	// Token is the temp token, or for [Client.RegisterAgent] also the validated
	// one. "": Client.Token gives it.
	Token string
	// IdempotencyKey lets a request that is made again, with another token too, get
	// the outcome of the first. "": none.
	IdempotencyKey string
}

func (r Registering) page(path string, body any) page {
	p := post(path, body)
	p.token, p.key = r.Token, r.IdempotencyKey
	return p
}

// ValidateCompliance has the server look at an agent's endpoint (POST
// /auth/agent/validate_compliance). The answer holds the validated token, once.
func (c *Client) ValidateCompliance(ctx context.Context, with Registering, p arc.ComplianceParams) (*arc.Compliance, error) {
	validate := with.page("/auth/agent/validate_compliance", p)
	validate.repeat = with.IdempotencyKey != ""
	return answered[arc.Compliance](ctx, c, validate)
}

// GetValidation gives an earlier outcome of ValidateCompliance, without its token
// (GET /auth/agent/validation/{id}).
func (c *Client) GetValidation(ctx context.Context, id string) (*arc.Compliance, error) {
	segment, err := pathID("validation_id", id)
	if err != nil {
		return nil, err
	}
	return answered[arc.Compliance](ctx, c, get("/auth/agent/validation/"+segment))
}

// RegisterAgent registers an agent (POST /agents/register) and gives its token.
// The same registration with the same token is the same one, so a request whose
// answer got lost is made again.
func (c *Client) RegisterAgent(ctx context.Context, with Registering, r arc.Registration) (*arc.Registered, error) {
	register := with.page("/agents/register", r)
	register.repeat = true
	return answered[arc.Registered](ctx, c, register)
}

// EnrollParams are those of [Client.Enroll].
type EnrollParams struct {
	// Key is the agent key that the operator handed out. It is needed.
	Key string
	// Registration is what the agent says of itself. It is needed.
	Registration arc.Registration
	// Unvalidated leaves out the look at the endpoint, where the server does not
	// insist on it.
	Unvalidated bool
}

// Enroll takes an agent from its key to its registration: a temp token, the look
// at its endpoint, the registration. Client.Token takes no part; the answer holds
// the agent's token.
func (c *Client) Enroll(ctx context.Context, p EnrollParams) (*arc.Registered, error) {
	r := p.Registration
	temp, err := c.RequestTempToken(ctx, arc.TempTokenParams{AgentID: r.AgentID, AgentType: r.AgentType, AgentKey: p.Key})
	if err != nil {
		return nil, err
	}
	with := Registering{Token: temp.TempToken}
	if !p.Unvalidated {
		outcome, err := c.ValidateCompliance(ctx, with, arc.ComplianceParams{
			AgentID: r.AgentID, AgentType: r.AgentType, Endpoint: r.Endpoint, Capabilities: r.Capabilities,
			CommunicationMode: r.CommunicationMode, Version: r.Version,
		})
		if err != nil {
			return nil, err
		}
		if outcome.ValidatedToken == nil {
			return nil, errEmpty
		}
		with.Token = *outcome.ValidatedToken
	}
	if with.Token == "" {
		return nil, errEmpty // "" would mean Client.Token
	}
	return c.RegisterAgent(ctx, with, r)
}
