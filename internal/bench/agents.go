package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// tokensFile is where the registry's server puts the tokens of the agents, one
// for each, by number.
const tokensFile = "agents.json"

// vocabulary is what agents are described with.
var vocabulary = strings.Fields(`
	account address airport analysis answer archive article audio audit balance bank battery billing booking
	budget calendar camera catalog chart chemistry city claim climate code contract copy currency customer
	data delivery design diagnosis dictionary document driver energy engine equipment error event factory
	finance flight forecast fraud garden geology grammar graph grid harvest health hotel image index insurance
	inventory invoice journal kitchen language law ledger lesson letter library license logistics loan machine
	map market material measure medicine meeting message metal mobile music network news note nutrition office
	order package parcel patent payment photo physics planning plant policy port price printer protein quality
	query railway receipt recipe record region repair report research review risk road robot route safety
	salary sample schedule school science security sensor service ship shop signal soil solar speech statute
	storage story summary supply survey table tariff tax telescope text ticket timber tourism traffic training
	translation transport travel treaty tunnel turbine tutorial vaccine vehicle video visa voice warehouse
	waste water weather website wind workflow`)

// query is what the search workload looks for.
const query = "invoice translation summary"

func agentID(n int) string  { return fmt.Sprintf("bench-agent-%05d", n) }
func agentKey(n int) string { return fmt.Sprintf("key-of-bench-agent-%05d", n) }

// registration describes the n-th agent: a dozen words of the vocabulary, the
// same in each run.
func registration(n int) arc.Registration {
	dice := rand.New(rand.NewPCG(1, uint64(n)))
	word := func() string { return vocabulary[dice.IntN(len(vocabulary))] }
	return arc.Registration{
		AgentID: agentID(n), Name: fmt.Sprintf("%s %s %d", word(), word(), n), AgentType: "worker",
		Endpoint:     fmt.Sprintf("https://agents.bench.example/%s/arc", agentID(n)),
		ContextBrief: fmt.Sprintf("Works on %s and %s, knows %s, and hands its %s over to those who do %s.", word(), word(), word(), word(), word()),
		Capabilities: []string{word() + " " + word(), word(), word()},
		Owner:        "The benchmark", PublicKey: strings.Repeat("QUJD", 11), Version: "1.2.3", CommunicationMode: "remote",
		Metadata: map[string]any{"region": fmt.Sprintf("region-%d", n%20), "contact": "ops@bench.example"},
		Features: []string{"streaming", "audit"}, PolicyTags: []string{"internal"},
	}
}

// register registers the agents as they would do it themselves, besides HTTP:
// key, temp token, registration. It gives their tokens.
func register(ctx context.Context, r *registry.Registry, v auth.Validator, count int) ([]string, error) {
	tokens := make([]string, count)
	joining, ctx := errgroup.WithContext(ctx)
	joining.SetLimit(16)
	for n := range tokens {
		joining.Go(func() (err error) {
			tokens[n], err = join(ctx, r, v, n)
			return err
		})
	}
	return tokens, joining.Wait()
}

func join(ctx context.Context, r *registry.Registry, v auth.Validator, n int) (string, error) {
	p := registration(n)
	caller := registry.Caller{Remote: "127.0.0.1"}
	temp, err := r.RequestTempToken(ctx, &caller, arc.TempTokenParams{AgentID: p.AgentID, AgentType: p.AgentType, AgentKey: agentKey(n)})
	if err != nil {
		return "", fmt.Errorf("asking for a temp token: %w", err)
	}
	if caller.Principal, err = v.Validate(ctx, temp.TempToken); err != nil {
		return "", fmt.Errorf("validating a temp token: %w", err)
	}
	registered, err := r.Register(ctx, &caller, p)
	if err != nil {
		return "", fmt.Errorf("registering %s: %w", p.AgentID, err)
	}
	return registered.AccessToken, nil
}

func writeTokens(dir string, tokens []string) error {
	b, err := json.Marshal(tokens)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, tokensFile), b, 0o600)
}

func readTokens(dir string) (tokens []string, err error) {
	b, err := os.ReadFile(filepath.Join(dir, tokensFile))
	if err != nil {
		return nil, err
	}
	return tokens, json.Unmarshal(b, &tokens)
}
