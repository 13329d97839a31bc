package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
)

// AgentKeysConfig says which keys agents may register with. An entry, in Entries
// and in File, is "key", good for any agent id, or "id=key", good for that id only.
//
// What stands before the first = is an id if it has the form of one (3 to 100 of
// A-Z a-z 0-9 _ -) and something follows; so a key with = in its middle is best
// written with an id. An entry that ends at its first =, or the ones right behind
// it, is a key only if it is padded base64 of 16 bytes or more: everything else of
// that form is an id whose key was forgotten, which must not become a key that
// anybody can guess. A key is 1 to 200 characters without control characters and
// without blanks at its ends.
type AgentKeysConfig struct {
	// Entries are keys of the configuration. They count until the process ends.
	Entries []string
	// File holds further entries, one a line; empty lines and lines that begin with
	// # are passed over. It must have mode 0600. Changes count at once; a missing
	// file has no keys; one that cannot be read leaves the last good content in
	// force. "": there is none.
	File string
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log gets a line when a changed file was taken up or refused, never a key. The
	// zero Logger writes nothing.
	Log zerolog.Logger
}

// AgentKey is a key that was shown.
type AgentKey struct {
	// Hash names the entry: hex SHA-256 of the agent id that it is for and the key,
	// under a prefix of its own. The same key for another id is another entry. It
	// stays on the server.
	Hash string
	// Agent is the only id that the key is good for. "": any.
	Agent string
}

// AgentKeys checks the keys with which agents ask for their first token. It is
// safe for concurrent use and needs no closing. A nil *AgentKeys has no keys.
type AgentKeys struct {
	now    func() time.Time
	pepper [32]byte // makes what is compared useless outside this process
	failed *failures
	fixed  *agentKeyList
	file   watchedFile[*agentKeyList] // no path: none
}

// OpenAgentKeys reads all entries. Its errors tell where an entry is that cannot
// be used, and never show it.
func OpenAgentKeys(cfg AgentKeysConfig) (*AgentKeys, error) {
	ks := &AgentKeys{now: cfg.Now, failed: newFailures()}
	if ks.now == nil {
		ks.now = time.Now
	}
	rand.Read(ks.pepper[:]) // never fails, see crypto/rand
	var err error
	if ks.fixed, err = ks.read(cfg.Entries, "entry"); err != nil {
		return nil, fmt.Errorf("reading agent keys: %w", err)
	}
	ks.file.path, ks.file.read = cfg.File, ks.load
	ks.file.missing = func() *agentKeyList { return &agentKeyList{} }
	ks.file.now, ks.file.log = ks.now, cfg.Log
	if cfg.File != "" {
		if err := ks.file.open(); err != nil {
			return nil, fmt.Errorf("opening the agent key file: %w", err)
		}
	}
	return ks, nil
}

func (ks *AgentKeys) mac(key string) [sha256.Size]byte {
	m := hmac.New(sha256.New, ks.pepper[:])
	m.Write([]byte(key))
	return [sha256.Size]byte(m.Sum(nil))
}

// lists gives the entries in force, as of now.
func (ks *AgentKeys) lists() []*agentKeyList {
	if ks.file.path == "" {
		return []*agentKeyList{ks.fixed}
	}
	return []*agentKeyList{ks.fixed, ks.file.get(true)}
}

// Check tells whether the key is one that the agent id may register with, for
// somebody who asks from the address remote. An id that has entries of its own
// takes no plain key: those who have one must not come before it. The whole key is
// compared with all entries, in a time that depends on their number alone, and with
// nothing else.
//
// A refusal is an [*arc.Error] to be shown as it is: authentication-failed with
// reason invalid_agent_key, the same for a key that is not there and for one of
// another id; or, after too many failures, rate-limit-exceeded with RetryAfter.
func (ks *AgentKeys) Check(agentID, key, remote string) (AgentKey, error) {
	if ks == nil {
		return AgentKey{}, invalidAgentKey(agentID)
	}
	found, ok := ks.find(agentID, key)
	if wait := ks.failed.judge(agentID, remote, ok, ks.now()); wait > 0 {
		return AgentKey{}, tooManyFailures(wait)
	}
	if !ok {
		return AgentKey{}, invalidAgentKey(agentID)
	}
	return found, nil
}

func invalidAgentKey(agentID string) *arc.Error {
	return arc.Refuse(arc.ProblemAuthentication, "invalid_agent_key",
		"Authentication failed: Invalid agent key for agent '%s'", agentID)
}

// find compares the key with every entry. Ids are no secrets.
func (ks *AgentKeys) find(agentID, key string) (AgentKey, bool) {
	mac := ks.mac(key)
	var plain, own AgentKey
	reserved := false
	for _, list := range ks.lists() {
		for n := range list.entries {
			e := &list.entries[n]
			same := subtle.ConstantTimeCompare(mac[:], e.mac[:]) == 1
			if same && e.Agent == "" {
				plain = e.AgentKey
			}
			if e.Agent == agentID {
				reserved = true
				if same {
					own = e.AgentKey
				}
			}
		}
	}
	if reserved {
		return own, own.Hash != ""
	}
	return plain, plain.Hash != ""
}

// Bound tells whether the entry with this [AgentKey.Hash] names its agent.
func (ks *AgentKeys) Bound(hash string) bool {
	if ks == nil {
		return false
	}
	for _, list := range ks.lists() {
		for _, e := range list.entries {
			if e.Hash == hash {
				return e.Agent != ""
			}
		}
	}
	return false
}

// Has tells whether the entry with this [AgentKey.Hash] is still configured. It
// looks at the file each time, so that a line that is gone counts at once, and
// costs about a microsecond.
func (ks *AgentKeys) Has(hash string) bool {
	switch {
	case ks == nil:
		return false
	case ks.fixed.hashes[hash]:
		return true
	}
	return ks.file.path != "" && ks.file.get(true).hashes[hash]
}

// IDs gives a short public id for each entry in force, sorted: the first 12 hex
// digits of SHA-256 over the text "arcd agent key id", the agent id or nothing,
// and the key, parted by line feeds. By them an operator sees which keys a server
// has, and nobody can register with one.
func (ks *AgentKeys) IDs() []string {
	ids := []string{}
	if ks == nil {
		return ids
	}
	for _, list := range ks.lists() {
		for _, e := range list.entries {
			ids = append(ids, e.id)
		}
	}
	return uniqueSorted(ids)
}
