package cli

import (
	"context"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// proofWait bounds the question to the server whether it takes a token.
const proofWait = 10 * time.Second

// prove refuses a token that the server refuses, or that lacks the scopes that are
// asked for. Storing it would replace a login that is good, and the command that
// this login is to cure would fail again (contract section 2.6). A server that
// does not answer says nothing about the token.
func (in *login) prove(ctx context.Context) error {
	token, err := in.l.store.Secret(in.l.target.Token)
	if err != nil {
		return err
	}
	given := &credential.Credential{Facts: credential.Inspect(token)}
	if given.ExpiredAt(in.c.now()) {
		return nil // the store says so
	}
	if err := in.lacksAsked(given.Facts.Scopes); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proofWait)
	defer cancel()
	caller := &client.Client{URL: in.l.server, Token: client.StaticToken(token), JSONRPC: true, HTTP: in.l.http, Attempts: 1}
	_, err = caller.ListTasks(ctx, "", arc.ListTasksParams{Limit: 1})
	if good, known := accepted(err); good || !known {
		return nil
	}
	e := outcome.Errorf(outcome.TokenInvalid, "The server refuses the token, so it was not stored.").Because(err)
	e.Auth = &outcome.Auth{DetectedBy: "server"}
	in.c.completeAuth(e)
	return e
}

// lacksAsked is the error of a login whose token lacks scopes that --scope asks
// for. Only those that commands need count: a token does not tell others, as
// offline_access, in the same words. have is nil for one that does not tell its
// scopes.
func (in *login) lacksAsked(have []string) error {
	lacks := outcome.Without(in.c.knownScopes(strings.Join(words(in.Scope), " ")), have)
	if have == nil || len(lacks) == 0 {
		return nil
	}
	missing := strings.Join(lacks, " ")
	e := outcome.Errorf(outcome.PermissionDenied, "The token lacks scopes that were asked for: %s.", missing)
	e.ActiveScopes, e.MissingScopes = have, lacks
	e.Auth = &outcome.Auth{RequiredPermission: &missing, DetectedBy: "client"}
	in.c.completeAuth(e)
	return e
}
