package auth

import (
	"fmt"
	"maps"
	"slices"
)

// For gives a view of ps for routes with tokens of their own kind: it takes what
// ps takes and, of the named provider alone, tokens for these audiences too. ps
// itself goes on refusing those (wrong_audience), so such a token opens nothing
// but the routes behind the view.
//
// The view shares keys, revocation, clock and leeway with ps and asks for no keys
// of its own; only what it remembers of tokens is apart, and as much, so that
// neither can answer for the other. It is made at start-up: a name that is no
// provider, or an audience that is empty, panics.
func (ps *Providers) For(name string, audience ...string) Validator {
	if slices.Contains(audience, "") {
		panic("auth: Providers.For with an empty audience")
	}
	at := slices.IndexFunc(ps.list, func(p *provider) bool { return p.Name == name })
	if at < 0 {
		panic(fmt.Sprintf("auth: Providers.For of %q, which is no provider", name))
	}
	wider := *ps.list[at]
	wider.Audience = slices.Concat(wider.Audience, audience)
	wider.parser = newParser(wider.Provider, ps.cfg)

	view := &Providers{
		cfg: ps.cfg, byIssuer: maps.Clone(ps.byIssuer), list: slices.Clone(ps.list),
		seen: newVerdicts(ps.cfg.CacheSize),
	}
	view.byIssuer[wider.Issuer], view.list[at] = &wider, &wider
	return view
}
