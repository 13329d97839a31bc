package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
)

func jwtKey(x []byte) ed25519.PublicKey { return ed25519.PublicKey(x) }

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestW31KeyFileIsPrivate(t *testing.T) {
	clock := newTestClock()
	_, cfg := openTestIssuer(t, clock, nil)
	if mode := modeOf(t, cfg.KeyFile); mode != 0o600 {
		t.Errorf("mode of a new key file is %04o, want 0600", mode)
	}
	if err := auth.RotateKeys(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	if mode := modeOf(t, cfg.KeyFile); mode != 0o600 {
		t.Errorf("mode after a rotation is %04o, want 0600", mode)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(cfg.KeyFile, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := auth.OpenIssuer(cfg); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("OpenIssuer with mode %04o: %v, want advice to chmod", mode, err)
		}
		if err := auth.RotateKeys(cfg.KeyFile); err == nil {
			t.Errorf("RotateKeys with mode %04o did not fail", mode)
		}
	}
}

func TestKeyFileRefused(t *testing.T) {
	clock := newTestClock()
	_, cfg := openTestIssuer(t, clock, nil)
	good, err := os.ReadFile(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	replace := func(old, new string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(string(good), old, new, 1)
	}
	tests := map[string]string{
		"version 7":           replace(`"version": 1`, `"version": 7`),
		"0 signing keys":      `{"version":1,"keys":[]}`,
		"unknown state":       replace(`"signing"`, `"asleep"`),
		"not the thumbprint":  replace(`"kid": "`, `"kid": "x`),
		"is not base64url":    replace(`"seed": "`, `"seed": "x`),
		"unknown object memb": replace(`"version"`, `"wersion"`),
		"duplicate":           replace(`"version": 1`, `"version": 1, "version": 1`),
		"EOF":                 "",
	}
	for want, content := range tests {
		t.Run(want, func(t *testing.T) {
			if err := os.WriteFile(cfg.KeyFile, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := auth.OpenIssuer(cfg)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("OpenIssuer: %v, want %q in it", err, want)
			}
			if after, _ := os.ReadFile(cfg.KeyFile); string(after) != content {
				t.Errorf("the refused file was changed to %s", after)
			}
		})
	}
}

// A rotation takes effect in a running issuer, the old key verifies until its
// last token has expired, and the rotation after that drops it from the file.
func TestW31RotationOverlaps(t *testing.T) {
	clock := &testClock{now: time.Now().Truncate(time.Second)} // RotateKeys goes by the real clock
	i, cfg := openTestIssuer(t, clock, nil)
	first := kidsOf(t, i.JWKS())[0]
	old, err := i.Mint(auth.Claims{Subject: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.RotateKeys(cfg.KeyFile); err != nil {
		t.Fatalf("RotateKeys: %v", err)
	}
	clock.Advance(time.Second)
	kids := kidsOf(t, i.JWKS())
	if len(kids) != 2 || kids[0] != first {
		t.Fatalf("published keys %v, want %s and a new one", kids, first)
	}
	young, err := i.Mint(auth.Claims{Subject: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := tokenParts(t, young); header["kid"] != kids[1] {
		t.Errorf("a new token is signed by %v, want %s", header["kid"], kids[1])
	}
	if _, err := i.Read(old); err != nil {
		t.Errorf("Read of a token of the old key: %v", err)
	}

	clock.Advance(15 * time.Minute)
	if got := kidsOf(t, i.JWKS()); !slices.Contains(got, first) {
		t.Errorf("within the leeway of the last token the keys are %v, want %s among them", got, first)
	}
	clock.Advance(3 * time.Minute)
	if got := kidsOf(t, i.JWKS()); !slices.Equal(got, kids[1:]) {
		t.Errorf("after the last token of the old key the keys are %v, want %v", got, kids[1:])
	}
}

func TestRotationWaitsForLongTokens(t *testing.T) {
	clock := &testClock{now: time.Now().Truncate(time.Second)}
	i, cfg := openTestIssuer(t, clock, func(c *auth.IssuerConfig) { c.TokenTTL = time.Minute })
	long, err := i.Mint(auth.Claims{Subject: "x", TTL: 48 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.RotateKeys(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	clock.Advance(47 * time.Hour)
	if _, err := i.Read(long); err != nil {
		t.Errorf("Read of a long token after a rotation: %v", err)
	}
	clock.Advance(2 * time.Hour)
	if kids := kidsOf(t, i.JWKS()); len(kids) != 1 {
		t.Errorf("keys after the long token expired: %v, want one", kids)
	}
}

// A longer token life in a later configuration is what rotations wait for.
func TestRotationKnowsALongerLife(t *testing.T) {
	clock := &testClock{now: time.Now().Truncate(time.Second)}
	_, cfg := openTestIssuer(t, clock, nil)
	cfg.TokenTTL = 2 * time.Hour
	i, err := auth.OpenIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := auth.RotateKeys(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Hour)
	if kids := kidsOf(t, i.JWKS()); len(kids) != 2 {
		t.Errorf("keys 2 h after the rotation: %v, want two", kids)
	}
}

// Rotations and issuers in many places never tear the file or lose a key.
func TestRotationsSideBySide(t *testing.T) {
	const rotations = 8
	clock := &testClock{now: time.Now()}
	i, cfg := openTestIssuer(t, clock, nil)
	tokens := make([]string, rotations)
	var wg sync.WaitGroup
	for n := range rotations {
		wg.Go(func() {
			if err := auth.RotateKeys(cfg.KeyFile); err != nil {
				t.Errorf("RotateKeys: %v", err)
			}
			clock.Advance(time.Second)
			var err error
			if tokens[n], err = i.Mint(auth.Claims{Subject: "x"}); err != nil {
				t.Errorf("Mint: %v", err)
			}
		})
	}
	wg.Wait()
	clock.Advance(time.Second)
	if kids := kidsOf(t, i.JWKS()); len(kids) != rotations+1 {
		t.Errorf("%d keys after %d rotations", len(kids), rotations)
	}
	for _, token := range tokens {
		if _, err := i.Read(token); err != nil {
			t.Errorf("Read: %v", err)
		}
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(cfg.KeyFile), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left behind: %v (%v)", left, err)
	}
}

func TestFirstStartSideBySide(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	sets := make([][]byte, 8)
	var wg sync.WaitGroup
	for n := range sets {
		wg.Go(func() {
			i, err := auth.OpenIssuer(auth.IssuerConfig{URL: issuerURL, KeyFile: file})
			if err != nil {
				t.Errorf("OpenIssuer: %v", err)
				return
			}
			sets[n] = i.JWKS()
		})
	}
	wg.Wait()
	for _, set := range sets {
		if !bytes.Equal(set, sets[0]) {
			t.Fatalf("two first starts made two keys: %s and %s", sets[0], set)
		}
	}
}

func TestRotateKeysFollowsALink(t *testing.T) {
	clock := newTestClock()
	_, cfg := openTestIssuer(t, clock, nil)
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(cfg.KeyFile, link); err != nil {
		t.Fatal(err)
	}
	if err := auth.RotateKeys(link); err != nil {
		t.Fatalf("RotateKeys: %v", err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced (%v, %v)", info, err)
	}
	if err := auth.RotateKeys(filepath.Join(t.TempDir(), "none.json")); err == nil {
		t.Error("RotateKeys of a missing file did not fail")
	}
}
