package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// The paths of the token service, relative to the public URL.
const (
	tokenPath      = "/oauth/token"
	revokePath     = "/oauth/revoke"
	jwksPath       = "/.well-known/jwks.json"
	oauthMetadata  = "/.well-known/oauth-authorization-server"
	metadataMaxAge = 5 * time.Minute
)

// oauthRoutes adds the token service to mux; without an issuer it adds nothing.
// The paths below /oauth speak OAuth: whatever is not 2xx is an error of RFC 6749
// section 5.2, no problem document.
func (s *Server) oauthRoutes(mux *http.ServeMux) {
	if s.cfg.Issuer == nil {
		return
	}
	metadata := s.oauthMetadata()
	mux.Handle(tokenPath, oauthPost(s.handleToken))
	if s.cfg.Registry != nil { // it keeps the revocations
		mux.Handle(revokePath, oauthPost(s.handleRevoke))
	}
	mux.Handle(jwksPath, s.oauthGet("application/jwk-set+json", s.cfg.Issuer.JWKS))
	mux.Handle(oauthMetadata, s.oauthGet("application/json", func() []byte { return metadata }))
	// An issuer with a path has its document at a path of its own too (RFC 8414
	// section 3.1).
	if u, err := url.Parse(s.cfg.Issuer.Provider().Issuer); err == nil && strings.Trim(u.Path, "/") != "" {
		mux.Handle(oauthMetadata+strings.TrimSuffix(u.Path, "/"), s.oauthGet("application/json", func() []byte { return metadata }))
	}
}

// oauthPost lets only POST through, and nothing into a cache (RFC 6749 section
// 5.1).
func oauthPost(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			writeOAuthError(w, &auth.OAuthError{
				Status: http.StatusMethodNotAllowed, Code: auth.OAuthInvalidRequest, Description: "this path takes POST only",
			})
			return
		}
		h(w, r)
	})
}

// oauthGet serves a public document that may be cached for a while.
func (s *Server) oauthGet(contentType string, document func() []byte) http.Handler {
	maxAge := strconv.Itoa(int(metadataMaxAge / time.Second))
	return s.get(func(w *response, _ *http.Request) {
		body := document()
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "public, max-age="+maxAge)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // a caller that has gone misses nothing
	})
}

// oauthMetadata is the document of RFC 8414.
func (s *Server) oauthMetadata() []byte {
	issuer := s.cfg.Issuer.Provider().Issuer
	base := s.cfg.PublicURL
	if base == "" {
		base = strings.TrimSuffix(issuer, "/")
	}
	methods := []string{"client_secret_basic", "client_secret_post"}
	var revocation string
	var revocationAuth []string
	if s.cfg.Registry != nil { // as in oauthRoutes
		revocation, revocationAuth = base+revokePath, methods
	}
	doc, _ := json.Marshal(struct { // strings only: cannot fail
		Issuer         string   `json:"issuer"`
		Token          string   `json:"token_endpoint"`
		Revocation     string   `json:"revocation_endpoint,omitempty"`
		JWKS           string   `json:"jwks_uri"`
		Scopes         []string `json:"scopes_supported"`
		ResponseTypes  []string `json:"response_types_supported"`
		GrantTypes     []string `json:"grant_types_supported"`
		TokenAuth      []string `json:"token_endpoint_auth_methods_supported"`
		RevocationAuth []string `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	}{
		issuer, base + tokenPath, revocation, base + jwksPath, s.mux.AllScopes(),
		[]string{}, // there is no authorization endpoint
		[]string{grantType}, methods, revocationAuth,
	})
	return doc
}

// handleToken is POST /oauth/token.
func (s *Server) handleToken(w http.ResponseWriter, r *http.Request) {
	params, err := s.readOAuthParams(w, r)
	if err == nil {
		err = params.checkGrantType()
	}
	var grant auth.Grant
	if err == nil {
		grant, err = s.cfg.Issuer.Grant(auth.GrantRequest{
			ClientID: params.clientID, Secret: params.secret, Scope: params.one("scope"),
			Audience: params.values["audience"], Resource: params.values["resource"], Remote: remote(r),
		})
	}
	if err != nil {
		s.refuseToken(w, r, params, err)
		return
	}
	s.oauthLog(w, r, zerolog.InfoLevel, "token_issued", params).Str("grant_type", grantType).Str("scope", grant.Scope).
		Strs("aud", grant.Audience).Str("jti_hash", auth.TokenIDHash(grant.TokenID)).Int("expires_in", grant.ExpiresIn).Send()
	s.oauthAudit(w, r, "token_issued", params, "", map[string]any{"scope": grant.Scope, "jti_hash": auth.TokenIDHash(grant.TokenID)})
	writeOAuth(w, http.StatusOK, grant)
}

// handleRevoke is POST /oauth/revoke (RFC 7009). What is not a living token of
// this issuer is as good as revoked, so it is answered alike.
func (s *Server) handleRevoke(w http.ResponseWriter, r *http.Request) {
	params, err := s.readOAuthParams(w, r)
	if err == nil && params.one("token") == "" {
		err = oauthInvalid("the parameter token is missing")
	}
	if err == nil {
		_, err = s.cfg.Issuer.Authenticate(params.clientID, params.secret, remote(r))
	}
	if err != nil {
		s.refuseToken(w, r, params, err)
		return
	}
	token, err := s.cfg.Issuer.Read(params.one("token"))
	if err != nil {
		s.oauthLog(w, r, zerolog.InfoLevel, "token_revoked", params).Bool("known", false).Send()
		w.WriteHeader(http.StatusOK)
		return
	}
	if token.ClientID != params.clientID {
		s.refuseToken(w, r, params, &auth.OAuthError{
			Status: http.StatusBadRequest, Code: auth.OAuthUnauthorizedClient,
			Description: "the token was issued to another client", Reason: "foreign_token",
		})
		return
	}
	if err := s.cfg.Registry.RevokeToken(r.Context(), token); err != nil {
		// 503 tells the client that the token is still good and to try again (RFC
		// 7009 section 2.2.1).
		s.log.Error().Err(err).Str("event", "revocation_failed").Send()
		s.refuseToken(w, r, params, &auth.OAuthError{
			Status: http.StatusServiceUnavailable, Code: auth.OAuthUnavailable, RetryAfter: time.Second,
			Description: "the revocation could not be stored", Reason: "store",
		})
		return
	}
	s.oauthLog(w, r, zerolog.InfoLevel, "token_revoked", params).Bool("known", true).Str("jti_hash", auth.TokenIDHash(token.TokenID)).Send()
	s.oauthAudit(w, r, "token_revoked", params, "", map[string]any{"jti_hash": auth.TokenIDHash(token.TokenID)})
	w.WriteHeader(http.StatusOK)
}

// refuseToken answers a refusal and writes its audit line.
func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, params *oauthParams, err error) {
	refused, ok := errors.AsType[*auth.OAuthError](err)
	if !ok {
		s.log.Error().Err(err).Str("event", "issuer_failed").Send()
		refused = &auth.OAuthError{
			Status: http.StatusInternalServerError, Code: auth.OAuthServerError,
			Description: "the token service failed", Reason: "issuer",
		}
	}
	s.oauthLog(w, r, zerolog.WarnLevel, "token_refused", params).Str("path", r.URL.Path).
		Str("error", refused.Code).Str("reason", refused.Reason).Int("status", refused.Status).Send()
	event := "token_issued"
	if r.URL.Path == revokePath {
		event = "token_revoked"
	}
	s.oauthAudit(w, r, event, params, strings.ToUpper(refused.Reason), nil)
	writeOAuthError(w, refused)
}

// oauthLog begins an audit line. It never holds a secret or a token; ids of
// tokens go in hashed.
func (s *Server) oauthLog(w http.ResponseWriter, r *http.Request, level zerolog.Level, event string, params *oauthParams) *zerolog.Event {
	line := s.log.WithLevel(level).Str("event", event).Str("request_id", w.Header().Get("X-Request-Id")).Str("remote", remote(r))
	if params.clientID != "" {
		line = line.Str("client_id", params.clientID[:min(len(params.clientID), 128)])
	}
	return line
}

// oauthAudit keeps in the audit log what oauthLog has logged.
func (s *Server) oauthAudit(w http.ResponseWriter, r *http.Request, event string, params *oauthParams, refusal string, detail map[string]any) {
	if s.cfg.Registry == nil {
		return
	}
	c := &registry.Caller{Remote: remote(r), RequestID: w.Header().Get("X-Request-Id")}
	s.cfg.Registry.Record(c, event, params.clientID, refusal, detail)
}

// writeOAuthError answers in the form of RFC 6749 section 5.2.
func writeOAuthError(w http.ResponseWriter, e *auth.OAuthError) {
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="arcd", charset="UTF-8"`)
	}
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	writeOAuth(w, e.Status, struct {
		Code        string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{e.Code, printable(e.Description)})
}

// printable keeps a description within the characters that RFC 6749 section 5.2
// allows.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r < ' ' || r > '~' || r == '\\':
			return '?'
		}
		return r
	}, s)
}

func writeOAuth(w http.ResponseWriter, status int, body any) {
	b, _ := json.Marshal(body) // strings and numbers only: cannot fail
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // a caller that has gone misses nothing
}
