package cli

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/transfer"
)

// storePlace is where a store is kept, as a flag says it: sqlite:FILE, the URL of a
// database without a password, or env:NAME or file:PATH of what holds a whole URL.
type storePlace string

// keptStore is a place, resolved.
type keptStore struct {
	file string // of a SQLite store, "" for others
	url  string // of a database
}

// check finds what is wrong with the form of a place.
func (s storePlace) check(p *problems, flag string) {
	scheme, rest, _ := strings.Cut(string(s), ":")
	switch {
	case s == "" || rest != "" && (scheme == "sqlite" || scheme == "env" || scheme == "file"):
	case !isDatabase(string(s)):
		p.report(outcome.Problem{Code: outcome.Validation, Field: flag, Message: "must be sqlite:FILE, postgres://USER@HOST/DATABASE, env:NAME or file:PATH"})
	case holdsPassword(string(s)):
		p.report(outcome.Problem{Code: outcome.SecretInArgv, Field: flag, Message: "must not hold a password; leave it to PGPASSWORD or the password file, or give the whole URL as env:NAME or file:PATH"})
	}
}

// isDatabase tells whether a text is the URL of a PostgreSQL database.
func isDatabase(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// holdsPassword tells whether a URL holds a password, or cannot be read.
func holdsPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return true
	}
	_, there := u.User.Password()
	return there || u.Query().Has("password") || u.Query().Has("sslpassword")
}

// resolve gives the place that a flag names.
func (s storePlace) resolve(c *console) (keptStore, error) {
	text := string(s)
	switch scheme, rest, _ := strings.Cut(text, ":"); scheme {
	case "env":
		if text = c.variable(rest); text == "" {
			return keptStore{}, outcome.Errorf(outcome.Precondition, "The variable %s is not set.", rest)
		}
	case "file":
		b, err := os.ReadFile(rest)
		if err != nil {
			return keptStore{}, outcome.Errorf(outcome.FileNotFound, "The file %s cannot be read.", rest).Because(err)
		}
		text = strings.TrimSpace(string(b))
	}
	return keptAt(text)
}

// keptAt gives the place that a setting names.
func keptAt(text string) (keptStore, error) {
	if file, ok := strings.CutPrefix(text, "sqlite:"); ok && file != "" {
		return keptStore{file: file}, nil
	}
	if !isDatabase(text) || postgres.CheckURL(text) != nil {
		return keptStore{}, outcome.Errorf(outcome.Validation, "What was named holds neither sqlite:FILE nor the URL of a database.")
	}
	return keptStore{url: text}, nil
}

// String names the place, without a password and in the same way each time.
func (k keptStore) String() string {
	if k.file != "" {
		if abs, err := filepath.Abs(k.file); err == nil {
			return "sqlite:" + abs
		}
		return "sqlite:" + k.file
	}
	u, err := url.Parse(k.url)
	if err != nil {
		return "postgres:"
	}
	u.RawQuery = ""
	if u.User != nil {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}

// reader opens the store to be read whole; alone while no server has it open.
func (k keptStore) reader(ctx context.Context, alone bool) (transfer.Examiner, error) {
	if k.file != "" {
		return orNil[transfer.Examiner](sqlite.OpenReader(ctx, k.file, alone))
	}
	return orNil[transfer.Examiner](postgres.OpenReader(ctx, k.url, alone))
}

// writer opens the store to be filled.
func (k keptStore) writer(ctx context.Context) (transfer.Writer, error) {
	if k.file != "" {
		return orNil[transfer.Writer](sqlite.OpenWriter(ctx, k.file, registry.Texts))
	}
	return orNil[transfer.Writer](postgres.OpenWriter(ctx, k.url, registry.Texts))
}

// orNil makes an interface of a pointer, nil after an error.
func orNil[I, P any](p P, err error) (I, error) {
	var none I
	if err != nil {
		return none, err
	}
	i, _ := any(p).(I)
	return i, nil
}

// pending gives the version of the store's tables, and the steps that are missing.
func (k keptStore) pending(ctx context.Context) (int64, []string, error) {
	if k.file != "" {
		return sqlite.Pending(ctx, k.file)
	}
	return postgres.Pending(ctx, k.url)
}

// migrate brings the store's tables up to date.
func (k keptStore) migrate(ctx context.Context) error {
	if k.file != "" {
		return sqlite.Migrate(ctx, k.file)
	}
	return postgres.Migrate(ctx, k.url)
}

// storeFailed makes the error of a command about a store.
func storeFailed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*outcome.Error](err); ok {
		return e
	}
	_, full := errors.AsType[*transfer.NotEmptyError](err)
	_, remains := errors.AsType[*transfer.RemainsError](err)
	_, differ := errors.AsType[*transfer.DifferenceError](err)
	access, denied := errors.AsType[*postgres.AccessError](err)
	code, cure := outcome.Code(""), ""
	switch {
	case errors.Is(err, transfer.ErrInUse), errors.Is(err, transfer.ErrLocked):
		code, cure = outcome.LockHeld, "Stop every server that has it open; one that died is forgotten after 12 seconds."
	case full, errors.Is(err, store.ErrExists):
		code, cure = outcome.AlreadyExists, "Name a database or a file that is new."
	case remains:
		code, cure = outcome.Conflict, "Add --confirm-destructive to throw them away, or name another place."
	case differ:
		code, cure = outcome.CheckFailed, "Run the copy again; if it fails again, look for what else writes to either side."
	case errors.Is(err, transfer.ErrUnfinished):
		code, cure = outcome.Precondition, "Run the same copy again: it starts over."
	case denied:
		return refusedStore(access).Because(err)
	case errors.Is(err, transfer.ErrNewer):
		code, cure = outcome.Precondition, "Use an arcd that is as new as the tables, or a backup from before."
	case errors.Is(err, transfer.ErrForeign):
		code, cure = outcome.Precondition, "Name a database that is empty, or a file that is new."
	case errors.Is(err, transfer.ErrNoTables):
		code, cure = outcome.Precondition, "Name the place where a server keeps its state."
	case errors.Is(err, transfer.ErrDamaged):
		code, cure = outcome.Precondition, "A server can be started on a file that arcd backup has written; arcd restore puts one into another place."
	case errors.Is(err, transfer.ErrVersion):
		code, cure = outcome.Precondition, "Run arcd store migrate on it."
	case errors.Is(err, fs.ErrNotExist):
		code, cure = outcome.FileNotFound, "Check the path."
	case errors.Is(err, store.ErrUnavailable):
		code, cure = outcome.Unavailable, "Check that the database server runs and that the URL is right."
	default:
		return err
	}
	return outcome.Errorf(code, "%s", outcome.Sentence(outcome.Clean(err.Error()))).Because(err).Suggest("%s", cure)
}

// refusals are what is to be done where a database server does not let arcd in.
var refusals = map[string]struct {
	code outcome.Code
	cure string
}{
	postgres.AccessLogin: {outcome.Precondition, "Check the user in the URL and the password, which PGPASSWORD, the password file (PGPASSFILE, ~/.pgpass) or the whole URL in a file (store_file) gives, " +
		"and that pg_hba.conf of the server lets both in."},
	postgres.AccessDatabase: {outcome.Precondition, "Create the database, owned by the user in the URL, or correct its name there."},
	postgres.AccessRights: {outcome.Precondition, "Make the user in the URL the owner of the database (ALTER DATABASE … OWNER TO …), " +
		"or give it the right to create tables (GRANT CREATE, USAGE ON SCHEMA public TO …); tables that another user has made must become its own."},
	postgres.AccessTLS: {outcome.TLSConfig, "Set up TLS at the server; sslrootcert in the URL names an authority of your own, and sslmode how much is asked for."},
}

// refusedStore makes the error of a database server that does not let arcd in. What it
// says may hold names that somebody else chose.
func refusedStore(e *postgres.AccessError) *outcome.Error {
	r := refusals[e.Kind]
	return outcome.Errorf(r.code, "The database cannot be used: %s.", outcome.Clean(e.Reason)).Suggest("%s", r.cure)
}

// storeExits are the exit codes of commands that open a store.
var storeExits = []outcome.Exit{outcome.ExitConflict, outcome.ExitUnavailable}
