package store

import (
	"context"
	"time"
)

// Agent is one registered agent: the row that the registry writes.
type Agent struct {
	ID         string
	Rev        int64 // number of writes by PutAgent; set by the store
	Type       string
	Registered time.Time // milliseconds, like all times here
	Updated    time.Time

	// Seen is the last sign of life as it was last written, Alive what the
	// registry made of it. Written by PutAgent and Beat.
	Seen  time.Time
	Alive bool
	// Counts is what is known of its work, as package registry encodes it. Written
	// by PutAgent and Beat.
	Counts []byte

	// Texts is what a search looks at, from the weightiest to the least: names,
	// abilities, description, the rest. Written by PutAgent, never read back.
	Texts [4]string

	// Body is the rest, as package registry encodes it. Engines do not read it.
	Body []byte
}

// Beat is a sign of life of an agent, and what else changes with it.
type Beat struct {
	ID     string
	Seen   time.Time
	Alive  bool
	Counts []byte // nil: unchanged
}

// Search is a full-text search among the agents.
type Search struct {
	// Prefixes are what words must begin with, in lower case; at least one, letters
	// and digits only. An agent is found if one of its words begins with one of them.
	Prefixes []string
	// Least is how many of the prefixes an agent must have words for; 0 and 1: one.
	// Agents that have fewer may be among the hits all the same, if there are many
	// prefixes.
	Least int
	Type  string // exactly; "": any
	Limit int    // at least 1
}

// Hit is an agent that a search found.
type Hit struct {
	ID string
	// Rank orders hits: the larger, the better. It has no unit and compares within
	// one search only.
	Rank float64
}

// Mark is a fact that is there at most once: a key is pinned, a token was used, a
// session is open. Kind and Value together name it.
type Mark struct {
	Kind    string
	Value   string
	Body    []byte
	Expires time.Time // when it is as if it had never been; zero: never
}

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	ID   int64 // set by the store; rises in the order of writing
	At   time.Time
	Body []byte // as package registry encodes it

	// What can be asked for.
	Event   string
	Outcome string
	Actor   string
	Agent   string
}

// AuditQuery selects a page of the audit log, newest first. Empty fields select
// all.
type AuditQuery struct {
	Event, Outcome, Actor, Agent string
	From                         time.Time
	To                           time.Time // exclusive; zero: no end
	Before                       int64     // only IDs below this; 0: all
	Limit                        int       // at least 1
}

// Changes is what was written to a registry after some version of it.
type Changes struct {
	Version int64 // to ask for the next ones with
	// Whole says that the version is too old, or too much has changed since: all has
	// to be read again. The other fields are empty then.
	Whole       bool
	Agents      []Agent      // written since, as they are now, without Texts
	Gone        []string     // ids of agents that were deleted since and are not there
	Marks       []Mark       // set since and still there
	Unmarked    []Mark       // Kind and Value of those removed since that are not there
	Revocations []Revocation // added or extended since
}

// Registry is the durable state of the agent registry and the token service.
// All methods are safe for concurrent use and give ErrClosed after Close.
// Whatever returns nil is on disk.
type Registry interface {
	// PutAgent writes an agent. Rev must be the Rev that the change is based on, 0
	// for a new agent. It gives the agent as stored. Errors: ErrExists (Rev is 0 and
	// the id is there), ErrConflict (Rev has moved on, or the agent is gone).
	PutAgent(ctx context.Context, a Agent) (Agent, error)
	// DeleteAgent removes an agent. Errors: ErrNotFound; ErrConflict (rev has moved on).
	DeleteAgent(ctx context.Context, id string, rev int64) error
	// Agents reads up to max agents with an id above after, by id, without Texts.
	Agents(ctx context.Context, after string, max int) ([]Agent, error)
	// Beat writes all beats in one transaction; of two beats of one agent the later
	// one counts. It changes no Rev. Agents that are not there are passed over, and so
	// are beats whose Seen is before the one that is stored, but for their Counts.
	Beat(ctx context.Context, beats []Beat) error
	// Beats reads what is stored of the agents' life where Seen is at or after since, by
	// ID, Counts included.
	Beats(ctx context.Context, since time.Time) ([]Beat, error)
	// SearchAgents gives up to Limit hits, the best first; equal ranks by id. Which of
	// equal ones are beyond the limit is open.
	SearchAgents(ctx context.Context, q Search) ([]Hit, error)

	// Mark sets a mark unless it is there and has not expired by now: then it gives
	// the one that is there, unchanged, and nil otherwise.
	Mark(ctx context.Context, m Mark, now time.Time) (*Mark, error)
	// SetMark sets a mark, whatever was there.
	SetMark(ctx context.Context, m Mark) error
	// Unmark removes a mark and tells whether it was there. One that has expired
	// but was not pruned yet was there.
	Unmark(ctx context.Context, kind, value string) (bool, error)
	// Marks reads all marks of a kind that have not expired by now, by value.
	Marks(ctx context.Context, kind string, now time.Time) ([]Mark, error)
	// FindMark reads one mark that has not expired by now; nil if there is none.
	FindMark(ctx context.Context, kind, value string, now time.Time) (*Mark, error)

	// Revoke adds a revocation. Of an equal (Kind, Value) that is there, Before and
	// Expires stay if they are later: what is revoked stays so, when the clock was
	// put back too.
	Revoke(ctx context.Context, r Revocation) error
	// Revocations reads all that have not expired.
	Revocations(ctx context.Context, now time.Time) ([]Revocation, error)

	// Changes gives what agents, marks and revocations have that was written after
	// since, by any replica; 0 asks for no more than the version that is now. It misses
	// nothing that was committed before it was called. An engine that one process has
	// to itself may leave out what that process wrote.
	Changes(ctx context.Context, since int64) (Changes, error)

	// AppendAudit adds entries in their order, in one transaction.
	AppendAudit(ctx context.Context, entries []AuditEntry) error
	// Audit reads a page.
	Audit(ctx context.Context, q AuditQuery) ([]AuditEntry, error)

	// PruneRegistry removes up to max each of: expired marks, expired revocations, and audit
	// entries from before auditBefore. It gives the number of rows removed.
	PruneRegistry(ctx context.Context, now, auditBefore time.Time, max int) (int, error)
}
