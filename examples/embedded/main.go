// Command embedded is a server of its own: a Go program with an agent and a
// rule for tokens, on the packages of arcd. It prints a curl to try it with.
//
//	go run ./examples/embedded
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// shout is the agent: it answers in capitals.
func shout(ctx context.Context, t *methods.Turn) error {
	answer := strings.ToUpper(t.Message().Text())
	if t.Task == nil { // a chat turn: the answer is streamed
		return t.Write(ctx, answer)
	}
	return t.Artifact(ctx, arc.Artifact{Name: "shout", Parts: []arc.Part{arc.TextPart(answer)}})
}

// onlyTeam adds a rule to the standard validator: it takes the tokens of one
// team only.
type onlyTeam struct {
	auth.Validator
	team string
}

func (v onlyTeam) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	p, err := v.Validator.Validate(ctx, token)
	if err == nil && !strings.HasPrefix(p.Subject, v.team+"-") {
		return nil, arc.Errorf(arc.CodeUnauthenticated, "the token is not valid").
			With("reason", "policy").With("retryable", false)
	}
	return p, err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	url := "http://" + listener.Addr().String()
	db, err := sqlite.Open(ctx, sqlite.Config{File: "embedded.db"})
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := methods.New(methods.Config{
		Store: db, Agents: map[string]methods.Agent{"shout": {Runner: methods.RunnerFunc(shout)}},
	})
	if err != nil {
		return err
	}
	// Its own token service; an auth.Provider with an Issuer and an Audience
	// trusts somebody else's.
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{URL: url, KeyFile: "embedded-keys.json", ClientsFile: "embedded-clients.json"})
	if err != nil {
		return err
	}
	providers, err := auth.NewProviders(auth.Config{Providers: []auth.Provider{issuer.Provider()}})
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = service.Run(background) })
	running.Go(func() { providers.Run(background) })

	token, err := issuer.Mint(auth.Claims{Subject: "red-1", ClientID: "red-1", Scopes: auth.Scopes})
	if err != nil {
		return err
	}
	fmt.Printf("curl -sS %s/arc -H 'Content-Type: application/json' -H 'Authorization: Bearer %s' -d '%s'\n", url, token,
		`{"jsonrpc":"2.0","id":1,"method":"chat.start","params":{"targetAgent":"shout","initialMessage":{"role":"user","parts":[{"type":"text","content":"hello"}]}}}`)
	return server.New(server.Config{
		Service: service, Validator: onlyTeam{providers, "red"}, Issuer: issuer, PublicURL: url,
		Ready: func(context.Context) error { return providers.Ready() },
	}).Serve(ctx, listener)
}
