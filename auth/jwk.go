package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// This is the one file that knows jwx. Version 2 gets no fixes any more, so it
// is trusted with one small thing only: to turn the public members of one JWK
// into a Go key. Everything around it is ours.

// maxKeys is the most keys that a set may hold.
const maxKeys = 100

// verifyKey is one public key that may check signatures. The same key in the
// next key set is the same *verifyKey; a key that is gone is withdrawn, which
// voids what it has vouched for (see [verdicts]).
type verifyKey struct {
	id     string // kid; "" if the key has none
	kty    string
	crv    string // "" for RSA
	alg    string // the JWK's own alg; "": any that fits
	public crypto.PublicKey
	print  [sha256.Size]byte // of id, alg and the key itself

	withdrawn atomic.Bool
}

// jwkMembers are the members of a JWK that we read (RFC 7517 section 4, RFC
// 7518 section 6). The private ones are only looked for.
type jwkMembers struct {
	Kty    string   `json:"kty"`
	Kid    string   `json:"kid"`
	Use    string   `json:"use"`
	KeyOps []string `json:"key_ops"`
	Alg    string   `json:"alg"`
	Crv    string   `json:"crv"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	N      string   `json:"n"`
	E      string   `json:"e"`

	D   jsontext.Value `json:"d"`
	P   jsontext.Value `json:"p"`
	Q   jsontext.Value `json:"q"`
	DP  jsontext.Value `json:"dp"`
	DQ  jsontext.Value `json:"dq"`
	QI  jsontext.Value `json:"qi"`
	Oth jsontext.Value `json:"oth"`
	K   jsontext.Value `json:"k"`
}

// errNotForUs marks keys that are simply for something else: no alarm.
var errNotForUs = errors.New("not a key for checking signatures")

// errBurnt marks keys whose private half has been published.
var errBurnt = errors.New("private or symmetric key in a public key set")

// readSet picks the usable keys out of a key set. One bad key never spoils the
// others; why keys were refused comes back beside them. The error is set if the
// document is no key set or holds not one usable key.
func readSet(document []byte) (keys []*verifyKey, alarms []error, err error) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	// Doubled names and broken texts are judged key by key.
	lax := json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err := json.Unmarshal(document, &set, lax); err != nil {
		return nil, nil, fmt.Errorf("reading key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("key set holds %d keys, more than %d", len(set.Keys), maxKeys)
	}
	taken, burnt := map[[2]string]int{}, map[string]bool{}
	for i, text := range set.Keys {
		key, err := readKey(text)
		if err == nil {
			keys = append(keys, key)
			taken[[2]string{key.id, key.kty}]++
			continue
		}
		var id string
		if key != nil {
			id = key.id
		}
		if errors.Is(err, errBurnt) {
			burnt[id] = true
		}
		if !errors.Is(err, errNotForUs) {
			alarms = append(alarms, fmt.Errorf("key %d, kid %q: %w", i, id, err))
		}
	}
	keys = slices.DeleteFunc(keys, func(k *verifyKey) bool {
		// Keys without a kid cannot be doubles of each other.
		double := k.id != "" && taken[[2]string{k.id, k.kty}] > 1
		if double {
			alarms = append(alarms, fmt.Errorf("kid %q: several keys of one kind have it", k.id))
		}
		return double || burnt[k.id] && k.id != ""
	})
	if len(keys) == 0 {
		return nil, alarms, errors.New("key set holds no usable key")
	}
	return keys, alarms, nil
}

// readKey reads one key and decides whether it may check signatures. With an
// error the key holds the kid, if that could be read, and nothing else.
func readKey(text jsontext.Value) (*verifyKey, error) {
	if text.Kind() != '{' {
		return nil, errors.New("not a JSON object")
	}
	var m jwkMembers
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	key := &verifyKey{id: m.Kid, kty: m.Kty, crv: m.Crv, alg: m.Alg}
	if err := m.check(); err != nil {
		return &verifyKey{id: m.Kid}, err
	}
	public, err := m.public()
	if err != nil {
		return &verifyKey{id: m.Kid}, err
	}
	key.public = public
	key.print = sha256.Sum256([]byte(strings.Join([]string{m.Kid, m.Alg, m.Kty, m.Crv, m.X, m.Y, m.N, m.E}, "\n")))
	return key, nil
}

// check judges what a key says about itself.
func (m *jwkMembers) check() error {
	for _, v := range []jsontext.Value{m.D, m.P, m.Q, m.DP, m.DQ, m.QI, m.Oth, m.K} {
		if v != nil {
			return errBurnt
		}
	}
	switch {
	case m.Kty == "oct":
		return errBurnt
	case m.Use != "" && m.Use != "sig", m.KeyOps != nil && !slices.Contains(m.KeyOps, "verify"):
		return errNotForUs
	case len(m.Kid) > maxKeyID:
		return fmt.Errorf("kid is longer than %d bytes", maxKeyID)
	}
	var algs []string
	switch m.Kty + " " + m.Crv {
	case "RSA ":
		algs = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case "EC P-256":
		algs = []string{"ES256"}
	case "EC P-384":
		algs = []string{"ES384"}
	case "EC P-521":
		algs = []string{"ES512"}
	case "OKP Ed25519":
		algs = []string{"EdDSA"}
	default:
		return errNotForUs // kinds of keys to come are no fault
	}
	if m.Alg != "" && !slices.Contains(algs, m.Alg) {
		if slices.Contains(knownAlgorithms, m.Alg) {
			return fmt.Errorf("alg %s does not go with kty %s", m.Alg, m.Kty)
		}
		return errNotForUs
	}
	return nil
}

// public makes the Go key. Only the members that a public key consists of are
// shown to jwx.
func (m *jwkMembers) public() (crypto.PublicKey, error) {
	members := map[string]string{"kty": m.Kty}
	for name, v := range map[string]string{"crv": m.Crv, "x": m.X, "y": m.Y, "n": m.N, "e": m.E} {
		if v != "" {
			members[name] = v
		}
	}
	text, err := stdjson.Marshal(members)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("parsing key: %w", err)
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, fmt.Errorf("parsing key: %w", err)
	}
	switch k := raw.(type) {
	case *rsa.PublicKey:
		return k, checkRSA(k)
	case *ecdsa.PublicKey:
		if _, err := k.ECDH(); err != nil { // refuses points off the curve
			return nil, fmt.Errorf("checking point: %w", err)
		}
		return k, nil
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return nil, errors.New("Ed25519 key has the wrong length")
		}
		return k, nil
	}
	return nil, errNotForUs
}

// fits tells whether the key may check a signature of this algorithm: the kind
// of key and curve must be the algorithm's (RFC 8725 section 3.1), and the key's
// own alg, if it has one, must be the same.
func (k *verifyKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch k.kty + " " + k.crv {
	case "RSA ":
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case "EC P-256":
		return alg == "ES256"
	case "EC P-384":
		return alg == "ES384"
	case "EC P-521":
		return alg == "ES512"
	case "OKP Ed25519":
		return alg == "EdDSA"
	}
	return false
}
