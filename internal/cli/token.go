package cli

import (
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// mintedToken is the result of a command that shows a token: in short, since
// what stands on a screen or in a log stays there, or whole if that is asked for.
type mintedToken struct {
	Token     string   `json:"token"` // [JWT: sub=…, exp=…], or with --unmask the token
	Masked    bool     `json:"masked"`
	Subject   string   `json:"subject,omitempty"`
	Scopes    []string `json:"scopes"`
	ExpiresAt *string  `json:"expires_at"`
}

func newMintedToken(token string, unmask bool) mintedToken {
	facts := credential.Inspect(token)
	t := mintedToken{
		Token: token, Masked: !unmask, Subject: facts.Subject, Scopes: append([]string{}, facts.Scopes...), ExpiresAt: outcome.Instant(facts.ExpiresAt),
	}
	if !unmask {
		t.Token = "[REDACTED]"
		if facts.JWT {
			t.Token = "[JWT: sub=" + facts.Subject + ", exp=never]"
			if t.ExpiresAt != nil {
				t.Token = "[JWT: sub=" + facts.Subject + ", exp=" + *t.ExpiresAt + "]"
			}
		}
	}
	return t
}

func (t mintedToken) show(p *page) { p.line("%s", t.Token) }

func (t mintedToken) plain() []string { return []string{t.Token} }
