package credential

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
)

// Facts is what is known of a token. For a JWT it is what its payload says,
// unverified: good for choosing what to do, not for letting anybody in.
type Facts struct {
	// JWT: the facts are the token's own. False: the token is opaque, and they
	// come from the answer that it came in.
	JWT bool
	// Issuer, Subject and ClientID are the claims iss, sub and client_id (or azp,
	// cid, appid); "" where there are none.
	Issuer, Subject, ClientID string
	// Agent is the agent that the claim agent_id names, the first of several; "" where
	// it names none.
	Agent string
	// Audience is the claim aud.
	Audience []string
	// Scopes are sorted; nil where none are told.
	Scopes []string
	// IssuedAt and ExpiresAt are in whole seconds, UTC, by the issuer's clock;
	// zero where they are not told.
	IssuedAt, ExpiresAt time.Time
}

// Identified tells whether issuer and subject are known.
func (f Facts) Identified() bool { return f.Issuer != "" && f.Subject != "" }

// sameIdentity tells whether both are known and the same issuer's, subject's and
// client's.
func (f Facts) sameIdentity(g Facts) bool {
	return f.Identified() && f.Issuer == g.Issuer && f.Subject == g.Subject && f.ClientID == g.ClientID
}

// lineage is the key of a token's successors: whoever has the same issuer,
// subject, client and server. "" for a token that does not tell them.
func (f Facts) lineage(server string) string {
	if !f.Identified() {
		return ""
	}
	return digest(fmt.Sprintf("%q %q %q %q", f.Issuer, f.Subject, f.ClientID, server))
}

// digest is a text's SHA-256 in hex.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// claims is the part of a JWT's payload that is read.
type claims struct {
	Issuer   any `json:"iss"`
	Subject  any `json:"sub"`
	ClientID any `json:"client_id"`
	Azp      any `json:"azp"`
	Cid      any `json:"cid"`
	AppID    any `json:"appid"`
	AgentID  any `json:"agent_id"`
	Audience any `json:"aud"`
	Scope    any `json:"scope"`
	Scp      any `json:"scp"`
	IssuedAt any `json:"iat"`
	Expires  any `json:"exp"`
}

// Inspect reads a token without verifying anything: neither its header nor its
// signature is looked at, so that a token made by hand tells its expiry too. The
// zero Facts for one that is no JWT.
func Inspect(token string) Facts {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxSecret {
		return Facts{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Facts{}
	}
	var c claims
	if err := jsonv2.Unmarshal(payload, &c); err != nil {
		return Facts{}
	}
	return Facts{
		JWT: true, Issuer: word(c.Issuer), Subject: word(c.Subject),
		Agent:     first(wordList(c.AgentID, false)),
		ClientID:  cmp.Or(word(c.ClientID), word(c.Azp), word(c.Cid), word(c.AppID)),
		Audience:  wordList(c.Audience, false),
		Scopes:    sorted(append(wordList(c.Scope, true), wordList(c.Scp, true)...)),
		IssuedAt:  date(c.IssuedAt),
		ExpiresAt: date(c.Expires),
	}
}

// first gives the first text, "" of none.
func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

// word gives a claim that is a text of bounded length, else "".
func word(v any) string {
	if s, ok := v.(string); ok && len(s) <= 1024 {
		return s
	}
	return ""
}

// wordList gives a claim that is a text or a list of texts. split: the text is a
// list with blanks between (RFC 8693 section 4.2).
func wordList(v any, split bool) []string {
	switch v := v.(type) {
	case string:
		if split {
			return strings.Fields(v)
		}
		return []string{v}
	case []any:
		var all []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				all = append(all, s)
			}
		}
		return all
	}
	return nil
}

func sorted(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}

// date gives a NumericDate (RFC 7519 section 2) in whole seconds, else zero.
func date(v any) time.Time {
	f, ok := v.(float64)
	if !ok || !(f >= 0 && f < 253402300800) { // up to the year 9999; in this form NaN fails too
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}
