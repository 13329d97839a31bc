// Command embedded is a server of its own: a Go program with an agent and a
// rule for tokens, on the packages of arcd.
//
//	go run ./examples/embedded -issuer https://your-domain.okta.com/oauth2/default -audience api://default
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"

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

// tenants adds a rule to the standard validator: the token's tenant must be one
// that we serve.
type tenants struct {
	auth.Validator
	served map[string]bool
}

func (v tenants) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	p, err := v.Validator.Validate(ctx, token)
	if err != nil {
		return nil, err
	}
	if tenant, _ := p.Claims["tenant"].(string); !v.served[tenant] {
		return nil, arc.Errorf(arc.CodeUnauthenticated, "the token is not valid").
			With("reason", "policy").With("retryable", false)
	}
	return p, nil
}

func main() {
	issuer := flag.String("issuer", "", "issuer of the tokens")
	audience := flag.String("audience", "", "audience of the tokens")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := serve(ctx, *issuer, *audience); err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, issuer, audience string) error {
	db, err := sqlite.Open(ctx, sqlite.Config{File: "embedded.db"})
	if err != nil {
		return err
	}
	defer db.Close()
	service, err := methods.New(methods.Config{
		Store:  db,
		Agents: map[string]methods.Agent{"shout": {Runner: methods.RunnerFunc(shout)}},
	})
	if err != nil {
		return err
	}
	providers, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{{Name: "main", Issuer: issuer, Audience: []string{audience}}},
		Revoked:   service.Revoked,
	})
	if err != nil {
		return err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() { _ = service.Run(background) })
	running.Go(func() { providers.Run(background) })

	listener, err := net.Listen("tcp", "127.0.0.1:8001")
	if err != nil {
		return err
	}
	validator := tenants{providers, map[string]bool{"acme": true}}
	return server.New(server.Config{Service: service, Validator: validator, PublicURL: "http://127.0.0.1:8001"}).Serve(ctx, listener)
}
