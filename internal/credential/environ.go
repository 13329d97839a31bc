package credential

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
)

// The variables that this package reads itself. What else belongs to a server
// (its address, its token endpoint) comes in a [Target].
const (
	EnvToken            = "ARCD_TOKEN"              // an access token
	EnvTokenFile        = "ARCD_TOKEN_FILE"         // a file with an access token
	EnvClientID         = "ARCD_CLIENT_ID"          // client credentials: the id
	EnvClientSecret     = "ARCD_CLIENT_SECRET"      // client credentials: the secret
	EnvClientSecretFile = "ARCD_CLIENT_SECRET_FILE" // client credentials: a file with the secret
	EnvKeyring          = "ARCD_KEYRING"            // auto (default), off, require: see [Store]
	EnvConfigDir        = "ARCD_CONFIG_DIR"         // folder of contexts.json
	EnvStateDir         = "ARCD_STATE_DIR"          // folder of the instances
)

// lookup gives the value of a variable in environ, a list as of os.Environ; the
// last one counts. What is set to nothing counts as not set.
func lookup(environ []string, name string) string {
	value := ""
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			value = v
		}
	}
	return value
}

// Folders is where things are kept. A folder is "" where none is known: reading
// finds nothing then, and writing fails with [ErrNoFolder].
type Folders struct {
	// Config holds contexts.json.
	Config string
	// State holds the files of the instance.
	State string
}

// DefaultInstance is the instance of those who name none.
const DefaultInstance = "default"

// FindFolders gives the folders that the environment names. instance tells apart
// several users of one account: each has credentials of its own; "" is
// [DefaultInstance]. Nothing is created or looked at.
//
//	configuration: $ARCD_CONFIG_DIR, $XDG_CONFIG_HOME/arcd, else ~/.config/arcd
//	(macOS ~/Library/Application Support/arcd, Windows %AppData%\arcd)
//	state: $ARCD_STATE_DIR, $XDG_STATE_HOME/arcd, else ~/.local/state/arcd
//	(macOS as above, Windows %LocalAppData%\arcd), and in it instances/ID
//
// Relative values of the XDG variables are ignored, as their specification asks.
// The error Is [ErrInvalid]: the instance's name is not usable.
func FindFolders(environ []string, instance string) (Folders, error) {
	if instance == "" {
		instance = DefaultInstance
	}
	if !validName(instance) {
		return Folders{}, invalidf("%q is no name of an instance: 1 to 64 letters, digits, dots, underscores and dashes, the first a letter or digit", instance)
	}
	config := pick(environ, EnvConfigDir, "XDG_CONFIG_HOME", configHome(environ))
	state := pick(environ, EnvStateDir, "XDG_STATE_HOME", stateHome(environ))
	if state != "" {
		state = filepath.Join(state, "instances", instance)
	}
	return Folders{Config: config, State: state}, nil
}

// pick chooses a folder: what own names, else arcd in what xdg names, else arcd in
// fallback.
func pick(environ []string, own, xdg, fallback string) string {
	if dir := lookup(environ, own); dir != "" {
		if abs, err := filepath.Abs(dir); err == nil {
			return abs
		}
		return dir
	}
	if dir := lookup(environ, xdg); filepath.IsAbs(dir) {
		return filepath.Join(dir, "arcd")
	}
	if fallback == "" {
		return ""
	}
	return filepath.Join(fallback, "arcd")
}

func configHome(environ []string) string {
	switch runtime.GOOS {
	case "windows":
		return lookup(environ, "AppData")
	case "darwin":
		return below(lookup(environ, "HOME"), "Library", "Application Support")
	}
	return below(lookup(environ, "HOME"), ".config")
}

func stateHome(environ []string) string {
	switch runtime.GOOS {
	case "windows":
		return lookup(environ, "LocalAppData")
	case "darwin":
		return below(lookup(environ, "HOME"), "Library", "Application Support")
	}
	return below(lookup(environ, "HOME"), ".local", "state")
}

// below joins, unless there is no home.
func below(home string, names ...string) string {
	if home == "" {
		return ""
	}
	return filepath.Join(append([]string{home}, names...)...)
}

// names is what contexts and instances may be called: no separators, so that a
// name is never a path, and nothing that a shell or a command's splitting at
// blanks would change.
var names = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`) })

// validName tells whether text can be the name of a context or an instance.
func validName(text string) bool { return names().MatchString(text) }

// fileExists tells whether there is something at path.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
