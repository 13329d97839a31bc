package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

// openIssuer opens the token service, if it is on.
func (a *app) openIssuer(ctx context.Context) (err error) {
	if !a.settings.Auth.Issuer.Enabled {
		return nil
	}
	cfg := issuerSettings(a.settings)
	cfg.Log, cfg.Now = a.log, a.store.Now
	if a.settings.sharedKeys() {
		cfg.Keys = registry.NewSigningKeys(a.store, a.store.Now)
	} else if err := a.keysBack(ctx, cfg.KeyFile); err != nil {
		return err
	}
	if a.issuer, err = auth.OpenIssuer(cfg); err != nil {
		return fmt.Errorf("opening the token service: %w", err)
	}
	return nil
}

// sharedKeys tells whether the signing keys are in the store: several servers may use
// it, and nobody has named a file for them.
func (l *loaded) sharedKeys() bool {
	return l.sharedStore() && l.origins["auth.issuer.key_file"] == ""
}

// keysBack makes the key file of what came along in the store, if it was copied from one
// that several servers shared.
func (a *app) keysBack(ctx context.Context, file string) error {
	made, err := auth.KeysToFile(ctx, registry.NewSigningKeys(a.store, time.Now), file)
	if made {
		a.log.Info().Str("event", "keys_taken").Str("file", file).Msg("the signing keys of the store are in the file from now on")
	}
	return err
}

// withKeys calls f with the signing keys that several servers share; nil if they are in
// a file. It is for commands.
func (l *loaded) withKeys(ctx context.Context, f func(keys auth.Keys, now func() time.Time) error) (err error) {
	if !l.sharedKeys() {
		return f(nil, time.Now)
	}
	s, err := openStore(ctx, &l.config, zerolog.Nop())
	if err != nil {
		return storeFailed(err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(registry.NewSigningKeys(s, s.Now), s.Now)
}

// judges tells whether tokens can be judged: the keys of all providers are there, and it
// is known what was revoked. It is the store that fails, and not the authentication,
// where it does not tell what other servers wrote.
func (a *app) judges(ctx context.Context) error {
	if a.follow != nil {
		if err := a.follow.Ready(ctx); err != nil {
			return fmt.Errorf("%w: %w", server.ErrStore, err)
		}
	}
	if a.issuer != nil {
		err := a.issuer.Ready()
		if err != nil && a.settings.sharedKeys() {
			err = fmt.Errorf("%w: %w", server.ErrStore, err)
		}
		if err != nil {
			return err
		}
	}
	return a.providers.Ready()
}
