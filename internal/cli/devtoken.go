package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/auth"
)

// devCommand groups the helps for trying out.
type devCommand struct {
	Token devToken `cmd:"" help:"Mint any token with the local key file, for tests."`
}

// devToken is "arcd dev token". Whoever can read the key file can sign anything
// anyway, so it asks no further questions.
type devToken struct {
	configFlags
	Scope     []string      `placeholder:"SCOPE" help:"Scope of the token; several with commas or by repeating. Default: all that callers need."`
	TTL       time.Duration `name:"ttl" default:"1h" help:"How long it is valid. Negative: it has already expired, for good once past the leeway of 30 s: -60s."`
	Agent     []string      `placeholder:"ID" help:"Agent that it may send as; several are possible."`
	Audience  []string      `placeholder:"TEXT" help:"Its audience. Default: the token service's."`
	Subject   string        `name:"sub" default:"dev" help:"Its subject and client id."`
	PublicURL string        `placeholder:"URL" help:"The issuer in it: public_url of the server. Default: as configured."`
	KeyFile   string        `placeholder:"FILE" help:"Key file. Default: auth.issuer.key_file, or the keys in the store if that is PostgreSQL and no file is set."`
	Unmask    bool          `help:"Show the token itself."`
}

func (*devToken) row() row {
	return row{
		danger: safe, exits: storeExits, data: mintedToken{},
		long:     "The token is shown in short unless --unmask is given.",
		examples: []string{"arcd dev token --unmask -o plain", "arcd dev token --ttl -60s --unmask -o plain"},
	}
}

// run makes a token that the server with the same keys and public_url takes,
// as far as the flags mean it to.
func (d *devToken) run(ctx context.Context, io *console) (any, error) {
	flags := map[string]string{}
	if d.PublicURL != "" {
		flags["public_url"] = d.PublicURL
	}
	if d.KeyFile != "" {
		flags["auth.issuer.key_file"] = d.KeyFile
	}
	l, err := readConfig(d.Config, io, flags)
	if err != nil {
		return nil, err
	}
	if !l.sharedKeys() {
		io.noteNewFile(l.Auth.Issuer.KeyFile)
	}
	var token string
	err = l.withKeys(ctx, func(keys auth.Keys, now func() time.Time) error {
		cfg := issuerSettings(l)
		cfg.Keys, cfg.Now = keys, now
		token, err = d.mint(cfg)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newMintedToken(token, d.Unmask), nil
}

// mint makes the token.
func (d *devToken) mint(cfg auth.IssuerConfig) (string, error) {
	issuer, err := auth.OpenIssuer(cfg)
	if err != nil {
		return "", fmt.Errorf("opening the token service: %w", err)
	}
	scopes := words(d.Scope)
	if len(scopes) == 0 {
		scopes = devScopes()
	}
	token, err := issuer.Mint(auth.Claims{
		Subject: d.Subject, ClientID: d.Subject, Scopes: scopes,
		Agents: words(d.Agent), Audience: d.Audience, TTL: d.TTL,
	})
	if err != nil {
		return "", fmt.Errorf("minting the token: %w", err)
	}
	return token, nil
}

// words splits values at commas and spaces, so that a scope text of a token can
// be given as it is.
func words(values []string) []string {
	var all []string
	for _, v := range values {
		all = append(all, strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
