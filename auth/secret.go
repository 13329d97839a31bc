package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

// secretPrefix makes a secret recognisable to scanners of leaked secrets.
const secretPrefix = "arcd_secret_"

// NewSecret makes a client secret of 256 random bits and the hash to store in
// its place ([Client.SecretHash]).
func NewSecret() (secret, hash string) {
	bits := make([]byte, 32)
	rand.Read(bits) // never fails, see crypto/rand
	secret = secretPrefix + base64.RawURLEncoding.EncodeToString(bits)
	return secret, HashSecret(secret)
}

// madeSecret tells whether a secret has the form that [NewSecret] gives to them,
// which is beyond guessing.
func madeSecret(secret string) bool {
	random, ok := strings.CutPrefix(secret, secretPrefix)
	return ok && len(random) == base64.RawURLEncoding.EncodedLen(32)
}

// HashSecret gives the argon2id hash of a secret (RFC 9106) with a fresh salt in
// PHC form, $argon2id$v=19$m=19456,t=2,p=1$salt$hash. The costs are OWASP's
// least: what arcd makes has 256 random bits, which no cost would protect better.
func HashSecret(secret string) string {
	h := argonHash{memory: 19 << 10, passes: 2, lanes: 1, salt: make([]byte, 16)}
	rand.Read(h.salt) // never fails, see crypto/rand
	h.sum = h.of(secret, 32)
	return h.String()
}

// argonHash is a parsed argon2id hash.
type argonHash struct {
	memory uint32 // KiB
	passes uint32
	lanes  uint8
	salt   []byte
	sum    []byte
}

// The most that a configured hash may cost, so that a slip of the pen cannot
// make each token request eat the machine.
const (
	maxArgonMemory = 256 << 10 // KiB
	maxArgonPasses = 10
	maxArgonLanes  = 8
)

// parseArgonHash reads a hash in PHC form. The error does not show the hash.
func parseArgonHash(text string) (argonHash, error) {
	var h argonHash
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return h, errors.New("is not an argon2id hash of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.passes, &h.lanes); err != nil ||
		parts[3] != h.costs() {
		return h, errors.New("has costs that are not of the form m=…,t=…,p=…")
	}
	if h.lanes < 1 || h.lanes > maxArgonLanes || h.passes < 1 || h.passes > maxArgonPasses ||
		h.memory < 8*uint32(h.lanes) || h.memory > maxArgonMemory {
		return h, fmt.Errorf("has costs out of range: p is 1 to %d, t 1 to %d, m 8p to %d", maxArgonLanes, maxArgonPasses, maxArgonMemory)
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	h.sum, err2 = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(h.salt) < 8 || len(h.salt) > 64 || len(h.sum) < 16 || len(h.sum) > 64 {
		return h, errors.New("has a salt or a hash that is not base64 of 8 to 64 and 16 to 64 bytes")
	}
	return h, nil
}

func (h argonHash) costs() string { return fmt.Sprintf("m=%d,t=%d,p=%d", h.memory, h.passes, h.lanes) }

// String gives the PHC form.
func (h argonHash) String() string {
	enc := base64.RawStdEncoding
	return "$argon2id$v=19$" + h.costs() + "$" + enc.EncodeToString(h.salt) + "$" + enc.EncodeToString(h.sum)
}

func (h argonHash) of(secret string, length uint32) []byte {
	return argon2.IDKey([]byte(secret), h.salt, h.passes, h.memory, h.lanes, length)
}

// matches takes the time of the hash's costs, whatever the answer.
func (h argonHash) matches(secret string) bool {
	return subtle.ConstantTimeCompare(h.of(secret, uint32(len(h.sum))), h.sum) == 1
}

// A secretChecker verifies client secrets: few at a time, because each takes
// memory and a core for tens of milliseconds, and remembers the good ones.
type secretChecker struct {
	slots   chan struct{} // one element per verification that may run
	waiting atomic.Int64  // verifications that run or wait
	dummy   argonHash     // stands in for the hash of a client that is not there
	pepper  [32]byte      // makes what is remembered useless outside this process

	// mu guards good.
	mu   sync.Mutex
	good generations[[32]byte, struct{}]
}

const (
	secretSlots   = 4  // verifications at a time, and never more than half of the cores
	secretQueue   = 64 // verifications that may run or wait
	goodSecrets   = 4096
	goodSecretFor = 20 * time.Minute // beyond the default life of a token, so a steady client stays remembered
)

// errBusy says that too many verifications are waiting.
var errBusy = errors.New("too many secrets are being verified")

func newSecretChecker() *secretChecker {
	slots := min(secretSlots, max(1, runtime.GOMAXPROCS(0)/2))
	c := &secretChecker{slots: make(chan struct{}, slots)}
	c.good = generations[[32]byte, struct{}]{size: goodSecrets, age: goodSecretFor}
	rand.Read(c.pepper[:])
	c.dummy = argonHash{memory: 19 << 10, passes: 2, lanes: 1, salt: make([]byte, 16), sum: make([]byte, 32)}
	rand.Read(c.dummy.salt)
	rand.Read(c.dummy.sum)
	return c
}

// digest names one try: this secret for this client against this stored hash. A
// changed hash is another digest, so nothing good is remembered beyond a change.
func (c *secretChecker) digest(id, secret, hash string) [32]byte {
	mac := hmac.New(sha256.New, c.pepper[:])
	for _, s := range []string{id, secret, hash} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		mac.Write(n[:])
		mac.Write([]byte(s))
	}
	return [32]byte(mac.Sum(nil))
}

// remembers tells whether the try was good lately.
func (c *secretChecker) remembers(digest [32]byte, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.good.get(digest, now)
	return ok
}

// verify computes the hash. An empty hash is that of a client that is not there:
// it costs as much as arcd's own hashes do and never matches.
func (c *secretChecker) verify(digest [32]byte, secret, hash string, now time.Time) (bool, error) {
	want, err := parseArgonHash(hash)
	known := err == nil
	if !known {
		want = c.dummy
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > secretQueue {
		return false, errBusy
	}
	c.slots <- struct{}{}
	ok := want.matches(secret)
	<-c.slots
	if !ok || !known {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.good.put(digest, struct{}{}, now)
	return true, nil
}
