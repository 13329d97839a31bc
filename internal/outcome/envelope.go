package outcome

import "time"

// Version is the schema version of the envelope, major.minor.
const Version = "1.0"

// Envelope is the one JSON document that a command writes (contract section
// 2.1). It has no other members.
type Envelope struct {
	OK       bool     `json:"ok"`
	Data     any      `json:"data"` // an object or null
	Error    *Error   `json:"error"`
	Warnings []string `json:"warnings"` // "CODE: sentence"
	Meta     *Meta    `json:"meta"`
}

// Meta says about the command what is not its result (contract section 2.2).
// What stands in Commands is there for every command, the rest where it applies.
type Meta struct {
	DurationMS    int64    `json:"duration_ms"`
	OK            bool     `json:"ok"`
	Exit          Exit     `json:"exit_code"`
	SchemaVersion string   `json:"schema_version"`
	ToolVersion   string   `json:"tool_version"`
	Command       string   `json:"command"` // task.create
	RequestID     string   `json:"request_id"`
	Timestamp     string   `json:"timestamp"` // RFC 3339, UTC
	Cwd           string   `json:"cwd"`
	ConfigSources []string `json:"config_sources"`
	ConfigHash    string   `json:"effective_config_hash"`
	TimeoutMS     int64    `json:"timeout_ms"` // 0: none

	TraceID    string      `json:"trace_id,omitempty"`
	Server     string      `json:"server,omitempty"`
	Context    string      `json:"context,omitempty"`
	InstanceID string      `json:"instance_id,omitempty"`
	Credential *Credential `json:"credential,omitempty"`

	Pagination *Pagination `json:"pagination,omitempty"`
	Cursor     *string     `json:"cursor,omitempty"` // repeats next_cursor

	Truncated      bool   `json:"truncated,omitempty"`
	TotalBytes     int    `json:"total_bytes,omitempty"`
	ReturnedBytes  int    `json:"returned_bytes,omitempty"`
	TruncationHint string `json:"truncation_hint,omitempty"` // a command that shows it all

	DryRun    *bool `json:"dry_run,omitempty"` // both are there for commands that change something
	Confirmed *bool `json:"confirmed,omitempty"`

	Retries         int  `json:"retries,omitempty"`
	Reauthenticated bool `json:"reauthenticated,omitempty"`
	Headless        bool `json:"headless,omitempty"`

	Help        bool   `json:"help,omitempty"`
	SchemaRef   string `json:"schema_ref,omitempty"` // a command that prints the schema
	NotModified bool   `json:"not_modified,omitempty"`
	WriteScope  string `json:"write_scope,omitempty"`

	Line        *int   `json:"_line,omitempty"` // of a batch
	LineCommand string `json:"_cmd,omitempty"`

	WarningDetails []Warning `json:"warning_details,omitempty"`
}

// Credential says what the command called with.
type Credential struct {
	Source      string  `json:"source"`
	ExpiresAt   *string `json:"expires_at"` // null: unknown
	ExpiresInS  *int64  `json:"expires_in_s"`
	Refreshable bool    `json:"refreshable"`
}

// Pagination says where in a list the command is.
type Pagination struct {
	Total      *int    `json:"total"` // null: unknown
	Returned   int     `json:"returned"`
	Truncated  bool    `json:"truncated"`
	HasMore    bool    `json:"has_more"`
	NextCursor *string `json:"next_cursor"`
}

// Warning is something that the caller should know although the command did its
// work.
type Warning struct {
	Code    string `json:"code"` // in capitals
	Message string `json:"message"`
}

// String is the warning as the envelope lists it.
func (w Warning) String() string { return w.Code + ": " + w.Message }

// Close fills in what follows from how the command ended: data, err (nil: it
// succeeded) and the warnings. It gives the exit code.
func (v *Envelope) Close(data any, err *Error, warnings []Warning) Exit {
	v.Data, v.Error = data, err
	exit := ExitSuccess
	if err != nil {
		if err.Exit == ExitSuccess { // an error is none, however it was made
			err.Exit = err.Code.Exit()
		}
		exit = err.Exit
		err.ExitName = exit.Name()
	}
	v.OK = exit == ExitSuccess
	v.Meta.OK, v.Meta.Exit = v.OK, exit
	v.Warnings = make([]string, 0, len(warnings))
	for _, w := range warnings {
		v.Warnings = append(v.Warnings, w.String())
	}
	v.Meta.WarningDetails = warnings
	return exit
}

// Instant writes a time as the envelope shows it: RFC 3339, UTC, whole seconds.
// The zero time is null.
func Instant(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Truncate(time.Second).Format(time.RFC3339)
	return &s
}
