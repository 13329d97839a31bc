package credential

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// stateVersion is the version of the file. A later one is refused, not guessed at.
const stateVersion = 1

// state is the content of credentials.json.
type state struct {
	Version int `json:"version"`
	// Credentials are the stored ones: by context ("context:NAME"), by server
	// where no context is named ("server:URL"), and by lineage
	// ("lineage:DIGEST") where they only succeed a token of the environment.
	Credentials map[string]*entry `json:"credentials,omitempty"`
	// Successors says which credential is used instead of a dead token, by the
	// dead token's lineage.
	Successors map[string]string `json:"successors,omitempty"`
	// Marks are the digests of tokens that a server called expired, or that were
	// replaced, and when.
	Marks map[string]time.Time `json:"marks,omitempty"`
	// Clocks says by server how many seconds its clock is ahead, where it is
	// more than maxDrift.
	Clocks map[string]int64 `json:"clocks,omitempty"`
	// Devices are the device logins under way, by the key of their credential.
	Devices map[string]*device `json:"devices,omitempty"`
}

// grantKind is how a credential gets another token.
type grantKind string

const (
	grantClient   grantKind = "client_credentials"
	grantRefresh  grantKind = "refresh_token"
	grantToken    grantKind = "token"    // a token that somebody gave: nothing gets another
	grantRegistry grantKind = "registry" // the registry's own tokens, renewed while they are good
)

// entry is a stored credential.
type entry struct {
	// Server is the server it is for, as of serverID. It is given to no other.
	Server string    `json:"server"`
	Grant  grantKind `json:"grant"`

	TokenURL      string   `json:"token_url,omitempty"`
	RevocationURL string   `json:"revocation_url,omitempty"`
	ClientID      string   `json:"client_id,omitempty"`
	SecretFrom    string   `json:"client_secret_from,omitempty"` // env:NAME or file:PATH, where the secret itself is not kept
	AsJSON        bool     `json:"as_json,omitempty"`            // the token endpoint takes JSON instead of a form
	Scopes        []string `json:"scopes,omitempty"`             // to ask for
	Audience      string   `json:"audience,omitempty"`           // to ask for
	Fingerprint   string   `json:"fingerprint,omitempty"`        // of an administrator's login

	// What was last known of the access token.
	Issuer  string   `json:"issuer,omitempty"`
	Subject string   `json:"subject,omitempty"`
	Client  string   `json:"client,omitempty"`
	Granted []string `json:"granted_scopes,omitempty"`

	// Begun is when a refresh that may spend the refresh token was sent off; it
	// goes when the outcome is stored.
	Begun time.Time `json:"refresh_begun,omitzero"`

	// Keyring: the secrets are in the operating system's keyring, not in Secrets.
	Keyring bool     `json:"keyring,omitempty"`
	Secrets *secrets `json:"secrets,omitempty"`
}

// secrets is the part of a credential that nobody else may see. The two times
// are here because they change with the token: the keyring and the file cannot be
// written at once.
type secrets struct {
	AccessToken  string    `json:"access_token,omitempty"`
	RefreshToken string    `json:"refresh_token,omitempty"`
	ClientSecret string    `json:"client_secret,omitempty"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"` // of the access token, by the issuer's clock
	ObtainedAt   time.Time `json:"obtained_at,omitzero"`
}

// identity gives whose token it last was.
func (e *entry) identity() Facts {
	return Facts{Issuer: e.Issuer, Subject: e.Subject, ClientID: e.Client}
}

// facts gives what is known of the access token: what it says itself, else what
// its answer said.
func (e *entry) facts(sec *secrets) Facts {
	f := Inspect(sec.AccessToken)
	if !f.JWT {
		f = Facts{Issuer: e.Issuer, Subject: e.Subject, ClientID: e.Client, Scopes: e.Granted, IssuedAt: sec.ObtainedAt}
	}
	if f.ExpiresAt.IsZero() {
		f.ExpiresAt = sec.ExpiresAt
	}
	return f
}

// Path is the file that holds the credentials; "" without a folder.
func (s *Store) Path() string {
	if s.Folder == "" {
		return ""
	}
	return filepath.Join(s.Folder, "credentials.json")
}

// load reads the file; one that is not there is an empty one.
func (s *Store) load() (*state, error) {
	path := s.Path()
	if path == "" {
		return newState(), nil
	}
	content, err := readFile(path, true)
	if err != nil {
		return nil, err
	}
	return parseState(path, content)
}

func newState() *state {
	return &state{
		Version: stateVersion, Credentials: map[string]*entry{}, Successors: map[string]string{},
		Marks: map[string]time.Time{}, Clocks: map[string]int64{}, Devices: map[string]*device{},
	}
}

// parseState reads the file's content, nil for no file.
func parseState(path string, content []byte) (*state, error) {
	st := newState()
	if content == nil {
		return st, nil
	}
	st.Version = 0
	if err := parse(path, content, st); err != nil {
		return nil, err
	}
	if err := st.check(); err != nil {
		return nil, damaged(path, err)
	}
	st.fill()
	return st, nil
}

// fill makes maps of those that the file has as null.
func (st *state) fill() {
	empty := newState()
	if st.Credentials == nil {
		st.Credentials = empty.Credentials
	}
	if st.Successors == nil {
		st.Successors = empty.Successors
	}
	if st.Marks == nil {
		st.Marks = empty.Marks
	}
	if st.Clocks == nil {
		st.Clocks = empty.Clocks
	}
	if st.Devices == nil {
		st.Devices = empty.Devices
	}
}

// check refuses what this program never writes.
func (st *state) check() error {
	if st.Version != stateVersion {
		return invalidf("its version is %d, and this program knows %d", st.Version, stateVersion)
	}
	for _, key := range slices.Sorted(maps.Keys(st.Credentials)) {
		if err := st.Credentials[key].check(key); err != nil {
			return err
		}
	}
	for key, d := range st.Devices {
		if d == nil || d.Server == "" || d.TokenURL == "" || !validToken(d.Code) {
			return invalidf("the device login %q is not whole", key)
		}
	}
	for server, ahead := range st.Clocks {
		if max(ahead, -ahead) > int64(maxOffset/time.Second) {
			return invalidf("the clock of %q is out of range", server)
		}
	}
	return nil
}

func (e *entry) check(key string) error {
	kind, name, _ := strings.Cut(key, ":")
	if kind != "context" && kind != "server" && kind != "lineage" || name == "" {
		return invalidf("%q is no name of a credential", key)
	}
	if e == nil || e.Server == "" {
		return invalidf("the credential %q has no server", key)
	}
	switch e.Grant {
	case grantClient, grantRefresh, grantToken, grantRegistry:
	default:
		return invalidf("the grant of the credential %q is not known", key)
	}
	if e.SecretFrom != "" {
		if _, err := ParseSource(e.SecretFrom); err != nil {
			return invalidf("client_secret_from of the credential %q is neither env:NAME nor file:PATH", key)
		}
	}
	if e.Keyring && e.Secrets != nil {
		return invalidf("the secrets of the credential %q are in two places", key)
	}
	return e.Secrets.check(key)
}

func (sec *secrets) check(key string) error {
	if sec != nil && sec.AccessToken != "" && !validToken(sec.AccessToken) {
		return invalidf("the access token of the credential %q has characters that no token has", key)
	}
	return nil
}

// change reads the file, lets edit change it, and writes it, under its lock. When
// edit fails nothing is written.
func (s *Store) change(ctx context.Context, edit func(*state) error) error {
	if s.Folder == "" {
		return makeFolder("")
	}
	return locked(ctx, s.Path()+".lock", s.LockWait, func() error {
		st, err := s.load()
		if err != nil {
			return err
		}
		err = edit(st)
		if errors.Is(err, errUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		st.prune(s.now())
		return writeFile(s.Path(), st)
	})
}

// errUnchanged ends a change that has nothing to change.
var errUnchanged = errors.New("nothing to change")

// What is kept for how long.
const (
	keepMarks      = 30 * 24 * time.Hour // a token that is still around after this says its expiry itself
	mostMarks      = 256
	keepSuccessors = 30 * 24 * time.Hour // after the end of a successor that nothing can renew
)

// prune drops what nothing asks for any more, so that the file does not grow for
// ever: old marks, device codes that are over, successors that ended long ago.
func (st *state) prune(now time.Time) {
	maps.DeleteFunc(st.Marks, func(_ string, at time.Time) bool { return now.Sub(at) > keepMarks })
	for len(st.Marks) > mostMarks {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(st.Marks)), func(a, b string) int { return st.Marks[a].Compare(st.Marks[b]) })
		delete(st.Marks, oldest)
	}
	maps.DeleteFunc(st.Devices, func(_ string, d *device) bool { return now.Sub(d.Shown.ExpiresAt) > time.Hour })
	maps.DeleteFunc(st.Credentials, func(key string, e *entry) bool {
		return strings.HasPrefix(key, "lineage:") && e.Secrets != nil && e.Secrets.RefreshToken == "" &&
			!e.Secrets.ExpiresAt.IsZero() && now.Sub(e.Secrets.ExpiresAt) > keepSuccessors
	})
	maps.DeleteFunc(st.Successors, func(_, key string) bool { return st.Credentials[key] == nil })
}

// Clocks.
const (
	maxDrift  = 30 * time.Second     // a difference below it is noise
	maxOffset = 366 * 24 * time.Hour // a difference above it is a broken answer
)

// drift gives how far a server's clock is ahead, 0 for what does not count.
func drift(theirs, ours time.Time) time.Duration {
	d := theirs.Sub(ours).Round(time.Second)
	if theirs.IsZero() || max(d, -d) <= maxDrift || max(d, -d) > maxOffset {
		return 0
	}
	return d
}

// offset is how far the clock of a server is ahead, as far as it is known.
func (st *state) offset(server string) time.Duration {
	return time.Duration(st.Clocks[serverID(server)]) * time.Second
}

// setOffset notes how far a clock is ahead and tells whether that is news. A
// second more or less is none.
func (st *state) setOffset(server string, d time.Duration) bool {
	known := st.offset(server)
	if diff := known - d; max(diff, -diff) <= 2*time.Second {
		return false
	}
	if d == 0 {
		delete(st.Clocks, serverID(server))
	} else {
		st.Clocks[serverID(server)] = int64(d / time.Second)
	}
	return true
}

// NoteDate tells the store what the server's clock says: the header Date of an
// answer that has just come. Only a difference of more than 30 s is kept, so that
// usually nothing is written. It goes into ExpiredAt of later credentials.
func (s *Store) NoteDate(ctx context.Context, server string, date time.Time) error {
	if date.IsZero() {
		return nil
	}
	ahead := drift(date, s.now())
	if st, err := s.load(); err == nil && !st.setOffset(server, ahead) {
		return nil
	}
	return s.change(ctx, func(st *state) error {
		if !st.setOffset(server, ahead) {
			return errUnchanged
		}
		return nil
	})
}

// MarkExpired notes that a server called the token expired, although it may not
// look so: the next [Store.Refresh] gets another one, and a successor is used
// instead of it. Only a digest is kept.
func (s *Store) MarkExpired(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return s.change(ctx, func(st *state) error {
		if st.marked(token) {
			return errUnchanged
		}
		st.mark(token, s.now())
		return nil
	})
}

func (st *state) marked(token string) bool {
	_, ok := st.Marks[digest(token)]
	return ok
}

func (st *state) mark(token string, now time.Time) {
	if token != "" {
		st.Marks[digest(token)] = now.UTC().Truncate(time.Second)
	}
}
