package main

import (
	"context"
	"crypto/subtle"
	"strings"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	machineID     = "machine-b"
	machineSecret = "the secret of machine b, for tests only"
)

// machines is the storage of zitadel's own example server with the parts
// exchanged that a client-credentials token goes through: the client, the
// audience, the scope claim and the signing keys.
type machines struct {
	*storage.Storage
	audience string
	keys     []signingKey // newest first
}

func newMachines(audience, keyFile string) (*machines, error) {
	keys, err := addKey(keyFile)
	if err != nil {
		return nil, err
	}
	return &machines{
		Storage:  storage.NewStorage(storage.NewUserStore("http://localhost/")),
		audience: audience,
		keys:     keys,
	}, nil
}

// ClientCredentials checks the machine's id and secret.
func (m *machines) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	if id != machineID || subtle.ConstantTimeCompare([]byte(secret), []byte(machineSecret)) != 1 {
		return nil, oidc.ErrInvalidClient()
	}
	return machine{Client: storage.WebClient(machineID, machineSecret)}, nil
}

// ClientCredentialsTokenRequest says what the token is for.
func (m *machines) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &tokenRequest{subject: id, audience: []string{m.audience}, scopes: scopes}, nil
}

// GetPrivateClaimsFromScopes adds the scope claim, which zitadel/oidc leaves
// out of access tokens.
func (m *machines) GetPrivateClaimsFromScopes(_ context.Context, _, _ string, scopes []string) (map[string]any, error) {
	return map[string]any{"scope": strings.Join(scopes, " ")}, nil
}

// machine is a client that gets JWTs for client credentials.
type machine struct{ op.Client }

func (machine) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (machine) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

func (machine) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func(scopes []string) []string { return scopes }
}

type tokenRequest struct {
	subject  string
	audience []string
	scopes   []string
}

func (r *tokenRequest) GetSubject() string    { return r.subject }
func (r *tokenRequest) GetAudience() []string { return r.audience }
func (r *tokenRequest) GetScopes() []string   { return r.scopes }
