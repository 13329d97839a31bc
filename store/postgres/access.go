package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/transfer"
)

// The kinds of [AccessError].
const (
	AccessLogin    = "login"    // user, password, or what the server's pg_hba.conf says
	AccessDatabase = "database" // there is no such database
	AccessRights   = "rights"   // the role may not do what arcd needs
	AccessTLS      = "tls"      // the connection cannot be made secret
)

// AccessError says that a server does not let arcd in, or not do what it must. Nobody
// changes that by trying again.
type AccessError struct {
	// Kind is one of the words above.
	Kind string
	// Reason is what the server says, on one line, without a password.
	Reason string

	err error
}

// Error gives the reason.
func (e *AccessError) Error() string { return e.Reason }

// Unwrap gives what the driver said.
func (e *AccessError) Unwrap() error { return e.err }

// explain puts the driver's words for a failure to open into one line that says what is
// the matter: an *[AccessError], or [store.ErrUnavailable] where nobody answers. What
// the server says counts more than what was tried beside it.
func explain(err error) error {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		if kind := accessKind(said.Code); kind != "" {
			return &AccessError{kind, fmt.Sprintf("the server refuses: %s (SQLSTATE %s)", said.Message, said.Code), err}
		}
	}
	dialled, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	text := attempts(dialled.Unwrap())
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case certificate, strings.Contains(text, "server refused TLS connection"):
		return &AccessError{AccessTLS, text, err}
	case passing(err) == connection:
		return &plainError{store.ErrUnavailable.Error() + ": " + text, errors.Join(store.ErrUnavailable, err)}
	}
	return &plainError{text, err}
}

// accessKind tells what kind of refusal a SQLSTATE is, "" for others (PostgreSQL's
// appendix A: error codes).
func accessKind(code string) string {
	switch {
	case strings.HasPrefix(code, "28"):
		return AccessLogin
	case code == "3D000":
		return AccessDatabase
	case code == "42501", code == "3F000": // insufficient privilege; no schema to create in
		return AccessRights
	}
	return ""
}

// plainError is an error in shorter words.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// brief gives an error of the driver with each address and each reason once.
func brief(err error) error {
	dialled, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	return &plainError{attempts(dialled.Unwrap()), err}
}

// attempts says on one line how each attempt to connect failed. The driver tells each
// address up to three times, and tries each twice where it may go without TLS.
func attempts(err error) string {
	var parts []string
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(err.Error(), "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), "hostname resolving error: ")
		if where, what, ok := strings.Cut(line, "): "); ok {
			address, host, _ := strings.Cut(where, " (")
			if _, reason, ok := strings.Cut(what, address+": "); ok {
				what = reason
			}
			if !strings.Contains(address, host) {
				address = host + " (" + address + ")"
			}
			line = address + ": " + what
		}
		if line != "" && !seen[line] {
			seen[line] = true
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

// strangers finds a table of somebody else where there is none of arcd's. It is one
// statement, so that another process that makes the tables now is no stranger: the
// first one it makes is arcd_version.
const strangers = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT IN
	('arcd_version', 'arcd_migration_lock') AND NOT EXISTS (SELECT 1 FROM pg_tables
	WHERE schemaname = ANY (current_schemas(false)) AND tablename = 'arcd_version') ORDER BY tablename LIMIT 1`

// foreignTables refuses a database that another program uses: arcd's tables have plain
// names.
func foreignTables(ctx context.Context, q querier) error {
	var name string
	err := q.QueryRow(ctx, strangers).Scan(&name)
	switch {
	case noRows(err):
		return nil
	case err == nil:
		err = fmt.Errorf("it is %w: it has a table %s, and none of arcd", transfer.ErrForeign, name)
	}
	return err
}
