package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/zitadel/oidc/v3/pkg/op"
)

type signingKey struct{ jwk jose.JSONWebKey }

func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k signingKey) Key() any                                    { return k.jwk.Key }
func (k signingKey) ID() string                                  { return k.jwk.KeyID }

type publicKey struct{ signingKey }

func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (k publicKey) Use() string                        { return "sig" }
func (k publicKey) Key() any                           { return k.jwk.Public().Key }

// addKey puts a new key in front of those in the file and gives them all.
func addKey(file string) ([]signingKey, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: private, KeyID: rand.Text(), Algorithm: string(jose.RS256), Use: "sig",
	}}}
	old, err := os.ReadFile(file)
	if err == nil {
		var before jose.JSONWebKeySet
		if err := json.Unmarshal(old, &before); err != nil {
			return nil, fmt.Errorf("reading the key file: %w", err)
		}
		set.Keys = append(set.Keys, before.Keys...)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text, err := json.Marshal(set)
	if err != nil {
		return nil, err
	}
	keys := make([]signingKey, len(set.Keys))
	for i, k := range set.Keys {
		keys[i] = signingKey{k}
	}
	return keys, os.WriteFile(file, text, 0o600)
}

// SigningKey gives the newest key.
func (m *machines) SigningKey(context.Context) (op.SigningKey, error) { return m.keys[0], nil }

// SignatureAlgorithms lists what the provider signs with.
func (m *machines) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.RS256}, nil
}

// KeySet publishes all keys.
func (m *machines) KeySet(context.Context) ([]op.Key, error) {
	set := make([]op.Key, len(m.keys))
	for i, k := range m.keys {
		set[i] = publicKey{k}
	}
	return set, nil
}
