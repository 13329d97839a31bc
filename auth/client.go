package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/arcd-io/arcd/arc"
)

// Client is who may ask the issuer for tokens with its id and secret: a machine,
// or an administrator, whose secret is a password.
type Client struct {
	// SecretHash is the argon2id hash of its secret in PHC form, see [HashSecret].
	SecretHash string `json:"secret_hash" koanf:"secret_hash"`
	// Scopes are the most that its tokens may hold.
	Scopes []string `json:"scopes,omitempty" koanf:"scopes"`
	// Agents are the agent ids that its tokens may speak as. None: any.
	Agents []string `json:"agents,omitempty" koanf:"agents"`
	// Audience is the audience of its tokens unless it asks for another. Default:
	// the issuer's first.
	Audience string `json:"audience,omitempty" koanf:"audience"`
	// Admin lets it log in to the registry API as an administrator, with its id and
	// its secret ([Issuer.Login]).
	Admin bool `json:"admin,omitempty" koanf:"admin"`
}

// clientFile is the content of a client file.
type clientFile struct {
	Version int               `json:"version"` // 1
	Clients map[string]Client `json:"clients"`
}

// maxClientID is the longest client id in bytes.
const maxClientID = 128

// registrySubjects begin the claim sub of the tokens of the registry API. What a
// client gets from the token endpoint names the bare client, so no client may be
// called like one of them.
var registrySubjects = []string{"agent:", "admin:", "user:", "temp:"}

// check tells what is wrong with a client, its id included.
func (c Client) check(id string) error {
	if id == "" || len(id) > maxClientID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("client id %q is not 1 to %d visible ASCII characters", id, maxClientID)
	}
	for _, prefix := range registrySubjects {
		if strings.HasPrefix(id, prefix) {
			return fmt.Errorf("client id %q must not begin with %q: so do the subjects of the registry's tokens", id, prefix)
		}
	}
	if _, err := parseArgonHash(c.SecretHash); err != nil {
		return fmt.Errorf("client %q: secret_hash %w", id, err)
	}
	if err := checkScopes(c.Scopes); err != nil {
		return fmt.Errorf("client %q: scopes: %w", id, err)
	}
	for _, agent := range c.Agents {
		if !arc.ValidAgentID(agent) {
			return fmt.Errorf("client %q: agents: %q %s", id, agent, arc.AgentIDIssue)
		}
	}
	return nil
}

// Stamp stands for the client's present secret: another secret, or the same one
// set anew, has another stamp. It can be stored: nothing can be tried with it.
func (c Client) Stamp() string {
	sum := sha256.Sum256([]byte("arcd client stamp\n" + c.SecretHash))
	return hex.EncodeToString(sum[:16])
}

// checkScopes tells which is not a scope-token of RFC 6749 section 3.3.
func checkScopes(scopes []string) error {
	for _, s := range scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return fmt.Errorf("%q is not a scope: visible ASCII characters without \" and \\", s)
		}
	}
	return nil
}

func checkClients(clients map[string]Client) error {
	for _, id := range slices.Sorted(maps.Keys(clients)) {
		if err := clients[id].check(id); err != nil {
			return err
		}
	}
	return nil
}

// loadClientFile reads and checks a client file.
func loadClientFile(path string) (map[string]Client, fs.FileInfo, error) {
	var f clientFile
	seen, err := readPrivateJSON(path, &f)
	if err != nil {
		return nil, nil, err
	}
	if f.Version != 1 {
		return nil, nil, fmt.Errorf("%s is of version %d, which this arcd does not know", path, f.Version)
	}
	if err := checkClients(f.Clients); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return f.Clients, seen, nil
}

// Clients lists the clients of a client file by id. A missing file has none.
func Clients(file string) (map[string]Client, error) {
	clients, _, err := loadClientFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Client{}, nil
	}
	return clients, err
}

// AddClient makes a secret for a new client of the file, stores its hash and
// gives the secret: it can never be had again. The file is made, with mode 0600,
// if it is missing. A running [Issuer] of the file knows the client at once.
// c.SecretHash is ignored. An id that is taken is an error.
func AddClient(file, name string, c Client) (secret string, err error) {
	secret, c.SecretHash = NewSecret()
	if err := addClient(file, name, c); err != nil {
		return "", fmt.Errorf("adding a client: %w", err)
	}
	return secret, nil
}

// The length of a secret that a person chose: at least in characters, at most in
// bytes, which is what the login of the registry API takes.
const (
	minSecret = 12
	maxSecret = 1024
)

// AddClientSecret is [AddClient] with a secret that somebody chose, such as the
// password of an administrator: UTF-8 of 12 characters to 1,024 bytes. All of it
// counts, blanks included.
func AddClientSecret(file, name, secret string, c Client) error {
	if !utf8.ValidString(secret) || utf8.RuneCountInString(secret) < minSecret || len(secret) > maxSecret {
		return fmt.Errorf("adding a client: the secret is not text of %d characters to %d bytes", minSecret, maxSecret)
	}
	c.SecretHash = HashSecret(secret)
	if err := addClient(file, name, c); err != nil {
		return fmt.Errorf("adding a client: %w", err)
	}
	return nil
}

// ErrClientExists is that there is a client of this name already.
var ErrClientExists = errors.New("exists already")

// addClient stores a new client.
func addClient(file, name string, c Client) error {
	if err := c.check(name); err != nil {
		return err
	}
	return changeClients(file, func(clients map[string]Client) error {
		if _, taken := clients[name]; taken {
			return fmt.Errorf("client %q %w: remove it first", name, ErrClientExists)
		}
		clients[name] = c
		return nil
	})
}

// RemoveClient takes a client out of the file. It gets no more tokens from then
// on; those of the token endpoint that it has stay good until they expire or are
// revoked. An administrator's sessions end at once ([Issuer.AdminStamp]). An unknown
// id is an error.
func RemoveClient(file, name string) error {
	err := changeClients(file, func(clients map[string]Client) error {
		if _, there := clients[name]; !there {
			return fmt.Errorf("there is no client %q in %s", name, file)
		}
		delete(clients, name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing a client: %w", err)
	}
	return nil
}

// changeClients runs change on the clients of the file and stores the outcome.
func changeClients(file string, change func(map[string]Client) error) error {
	return withLock(file, func() error {
		clients, err := Clients(file)
		if err != nil {
			return err
		}
		if clients == nil {
			clients = map[string]Client{}
		}
		if err := change(clients); err != nil {
			return err
		}
		return writePrivateJSON(file, clientFile{Version: 1, Clients: clients})
	})
}
