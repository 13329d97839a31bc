package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxAgentKey  = 200    // characters, as the registry API takes them
	maxAgentKeys = 10_000 // entries of one source: each try looks at all of them
)

// agentKeyList is what was read of one source; never changed afterwards.
type agentKeyList struct {
	entries []agentKeyEntry
	hashes  map[string]bool // of all entries
}

type agentKeyEntry struct {
	AgentKey
	mac [sha256.Size]byte // of the key
	id  string            // public
}

// load reads the file.
func (ks *AgentKeys) load(path string) (*agentKeyList, fs.FileInfo, error) {
	content, seen, err := readPrivate(path)
	if err != nil {
		return nil, nil, err
	}
	lines := strings.Split(string(content), "\n")
	for n, line := range lines {
		lines[n] = strings.TrimSuffix(line, "\r")
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			lines[n] = ""
		}
	}
	list, err := ks.read(lines, "line")
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, seen, nil
}

// read makes a list of entries; "" counts as none in a file. what is how errors
// call an entry.
func (ks *AgentKeys) read(texts []string, what string) (*agentKeyList, error) {
	list := &agentKeyList{hashes: map[string]bool{}}
	for n, text := range texts {
		if text == "" && what == "line" {
			continue
		}
		agent, key, err := splitAgentKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s %d: %w", what, n+1, err)
		}
		e := agentKeyEntry{
			AgentKey: AgentKey{Hash: hashAgentKey("arcd agent key\n", agent, key), Agent: agent},
			mac:      ks.mac(key), id: hashAgentKey("arcd agent key id\n", agent, key)[:12],
		}
		if list.hashes[e.Hash] {
			continue // said twice
		}
		list.hashes[e.Hash] = true
		if list.entries = append(list.entries, e); len(list.entries) > maxAgentKeys {
			return nil, fmt.Errorf("more than %d agent keys", maxAgentKeys)
		}
	}
	return list, nil
}

// splitAgentKey reads an entry; see [AgentKeysConfig].
func splitAgentKey(text string) (agent, key string, err error) {
	head, tail, parted := strings.Cut(text, "=")
	switch {
	case parted && strings.Trim(tail, "=") == "":
		if !paddedBase64(text) {
			return "", "", errors.New("there is no key behind the =")
		}
	case parted && registryID(head):
		return head, tail, checkAgentKey(tail)
	}
	return "", text, checkAgentKey(text)
}

// paddedBase64 tells whether the text is base64 of 16 bytes or more, of either
// alphabet.
func paddedBase64(text string) bool {
	for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		if b, err := alphabet.Strict().DecodeString(text); err == nil && len(b) >= 16 {
			return true
		}
	}
	return false
}

// registryID is the form of an agent id in the registry API (contract 4.1).
func registryID(s string) bool {
	return len(s) >= 3 && len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	})
}

// checkAgentKey tells why no agent could show this key.
func checkAgentKey(key string) error {
	switch {
	case key == "":
		return errors.New("the agent key is empty")
	case !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl):
		return errors.New("the agent key holds control characters or is not UTF-8")
	case utf8.RuneCountInString(key) > maxAgentKey:
		return fmt.Errorf("the agent key is longer than %d characters", maxAgentKey)
	case strings.TrimSpace(key) != key:
		return errors.New("the agent key begins or ends with a blank, which is part of a key")
	}
	return nil
}

// hashAgentKey is the hex SHA-256 of an entry. An agent id holds no line break,
// so two entries never make the same text.
func hashAgentKey(domain, agent, key string) string {
	sum := sha256.Sum256([]byte(domain + agent + "\n" + key))
	return hex.EncodeToString(sum[:])
}
