// Package store is the contract of the durable state: what a store keeps
// ([Thread], [Event], [Item]), and how it changes ([Change]). Engines are in
// packages below it; package storetest proves that one keeps the contract.
//
// The rules, for every engine:
//
//   - A [Change] is whole or absent, its events included, and it is on disk
//     before Commit returns.
//   - Changes of one thread are ordered by compare-and-set on its Rev.
//   - Events of one thread are numbered 1, 2, 3, … without holes, in commit
//     order. Readers follow that log; [Store.Watch] only tells them when to look.
//   - Time comes in with the call, so that tests own the clock. The one exception
//     is Commit, which tells by [Store.Now] whether a key has expired.
//   - Several processes may share a store, if the engine says so: each is a replica.
//     What one has committed, the next read of every other sees.
//   - Bytes and slices are shared, not copied: neither side changes what it gave
//     or got.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// Errors of a store. What a caller may see is decided in package methods.
var (
	ErrNotFound = errors.New("store: not found")
	ErrConflict = errors.New("store: changed by somebody else") // read again and retry
	ErrExists   = errors.New("store: id already in use")
	ErrClosed   = errors.New("store: closed")
	// ErrUnavailable: the engine's server cannot be reached, or its disk is full. Whether
	// what was asked for has been done is unknown.
	ErrUnavailable = errors.New("store: unavailable")
)

// Kind tells tasks from chats.
type Kind uint8

// The kinds of threads.
const (
	Task Kind = iota + 1
	Chat
)

// Thread is one task or chat: the row that a Change writes.
type Thread struct {
	ID    string
	Kind  Kind
	Owner string // auth.Principal.Owner of the creator
	From  string // requestAgent that created it
	Agent string // targetAgent
	Trace string // traceId, may be ""
	// Parent is the id of the thread whose agent made this one for its work; "" if
	// nobody is known to have.
	Parent string

	Status   string // arc.TaskStatus or arc.ChatStatus
	Priority arc.Priority
	Created  time.Time // milliseconds, like all times here
	Updated  time.Time
	Ended    time.Time // zero while open

	Rev   int64 // number of commits; set by the store
	Seq   int64 // number of the last event; set by the store
	Items int   // number of items; set by the store

	// Ready says that the thread waits for its agent; Rank orders those that
	// do, smallest first.
	Ready bool
	Rank  int64
	// Due is when somebody must look at the thread again: a lease, deadline,
	// retry or idle time runs out. Zero: never.
	Due time.Time

	// Body is the rest, as package methods encodes it. Engines do not read it.
	Body []byte
}

// ItemKind tells messages from artifacts.
type ItemKind uint8

// The kinds of items.
const (
	MessageItem ItemKind = iota + 1
	ArtifactItem
)

// Item is a message or artifact of a thread, numbered from 1 in the order of
// arrival by the store.
type Item struct {
	Kind ItemKind
	Body []byte
}

// Change is one atomic change of one thread.
type Change struct {
	// Thread is its new state. Rev must be the Rev that the change is based on,
	// 0 for a new thread; Seq and Items are set by the store.
	Thread Thread
	// Events are appended to its log; their Seq is set by the store.
	Events []arc.Event
	// Items are appended to its history.
	Items []Item
	// Key, if set, makes the change happen at most once.
	Key *Key
	// Wake makes the thread's active subscriptions due, now, unless they are due at
	// some time already: there are events for them.
	Wake bool
}

// Key is an idempotency key. It is unique within its owner.
type Key struct {
	Owner   string
	Name    string
	Hash    []byte // of what was asked
	Reply   []byte // what to answer next time; may be nil
	Expires time.Time
	Replace bool // take the key over from whatever thread has it; there is no ReplayError
}

// ReplayError says that a change was not made because its key is in use.
type ReplayError struct {
	Thread string // id of the thread that the first call changed
	Hash   []byte
	Reply  []byte
}

func (*ReplayError) Error() string { return "store: idempotency key already used" }

// Query selects a page of an owner's threads, newest first (by Created, then
// ID, descending).
type Query struct {
	Owner  string
	Kind   Kind
	Status []string // any of these; nil: all
	Agent  string   // "": all
	Trace  string   // "": all
	From   time.Time
	To     time.Time // exclusive; zero: no end
	// BeforeTime and BeforeID are the last row of the page before.
	BeforeTime time.Time
	BeforeID   string
	Limit      int // at least 1
}

// ReadyQuery selects ready threads of an agent so that no owner's many hide
// another's few: up to Each best (by Rank, then ID) of up to Owners owners. The
// owners are taken in the order of their names, beginning behind After, and from
// the first again behind the last.
type ReadyQuery struct {
	Agent  string
	After  string // an owner; "": begin with the first
	Owners int    // at least 1
	Each   int    // at least 1
}

// Revocation makes tokens invalid before their time.
type Revocation struct {
	Kind    string    // "jti" or "sub"
	Value   string    // issuer, line feed, token id or subject
	Before  time.Time // for a subject: tokens issued before this are invalid
	Expires time.Time // when the entry may be forgotten
}

// Hint says that a thread has events up to Seq, or what else there is to look at.
// Hints may get lost, come late and in any order: whoever gets one reads the store.
type Hint struct {
	Thread string // "": none
	Seq    int64
	Ready  string // agent id, if the thread became ready
	Wake   bool   // a subscription of it became due
	// Follow says that somebody reads the thread's running turn through another
	// replica.
	Follow bool
	// Registry says that agents, marks or revocations changed.
	Registry bool
	// Elsewhere says that it comes from another replica. Set by the engine.
	Elsewhere bool
}

// Hints carries hints from one replica to the others. It is lossy by contract:
// what is lost, a look at the store each second finds.
type Hints interface {
	// Publish sends hints to the other replicas, soon. It does not block; what cannot
	// be sent is dropped.
	Publish(hs ...Hint)
	// Subscribe calls f for each hint of another replica until ctx ends; then, and
	// when it can go on no more, it returns. f must not block.
	Subscribe(ctx context.Context, f func(Hint)) error
}

// Store is the durable state of tasks and chats; that of the agents is
// [Registry], and of who wants to be told about tasks [Subscriptions]. All methods
// are safe for concurrent use and give ErrClosed after Close.
type Store interface {
	// Commit makes one change, durably. It gives the thread as stored.
	// Errors: ErrConflict (Rev has moved on, or the thread is gone), ErrExists
	// (new thread, id in use), *ReplayError (key in use; the key is looked at
	// before anything else).
	Commit(ctx context.Context, c Change) (Thread, error)
	// Thread reads one thread. ErrNotFound.
	Thread(ctx context.Context, id string) (Thread, error)
	// Recent is Thread for who is about to change it: what it gives may be older than
	// the last commit, if current is false. A Commit that is based on it is refused
	// then (ErrConflict), and after that it is read anew.
	Recent(ctx context.Context, id string) (t Thread, current bool, err error)
	// Heads gives the Seq of those of the threads that are there.
	Heads(ctx context.Context, ids []string) (map[string]int64, error)
	// Threads reads a page.
	Threads(ctx context.Context, q Query) ([]Thread, error)
	// Items reads a thread's whole history in order, as of t: its first t.Items items.
	// ErrNotFound if they are not there, or no more.
	Items(ctx context.Context, t Thread) ([]Item, error)
	// Events reads up to max events with Seq > after, in order. gap says that
	// events after that number once existed and were pruned. ErrNotFound if the
	// thread is not there, or no more.
	Events(ctx context.Context, id string, after int64, max int) (evs []arc.Event, gap bool, err error)
	// Ready reads ready threads of an agent; those of one owner stand together, best
	// first.
	Ready(ctx context.Context, q ReadyQuery) ([]Thread, error)
	// ReadyAgents lists the agents that have ready threads, sorted, up to max of those
	// whose id is greater than after.
	ReadyAgents(ctx context.Context, after string, max int) ([]string, error)
	// Children reads up to max threads with this Parent, open or not, by ID, whose ID is
	// greater than after.
	Children(ctx context.Context, parent, after string, max int) ([]Thread, error)
	// Due reads up to max threads whose Due is set and not after now, by Due.
	Due(ctx context.Context, now time.Time, max int) ([]Thread, error)
	// Replay finds what an idempotency key stands for; nil if it is unused or
	// expired.
	Replay(ctx context.Context, owner, name string, now time.Time) (*ReplayError, error)

	// Prune deletes up to max threads that ended before endedBefore with all
	// that belongs to them, and expired keys. Threads with an active subscription that
	// is due some time are kept until that is dealt with. It gives the number of
	// threads deleted. A key lives until it expires, whatever becomes
	// of its thread: what was done once must not be done again.
	Prune(ctx context.Context, now, endedBefore time.Time, max int) (int, error)

	Subscriptions

	// Watch calls f after each commit, and when a subscription became due because it
	// was made or settled, quickly and in no promised order, until stop is called. f
	// must not block and must not call the store. Where replicas share a store it is
	// called for what the others did too, as far as their hints arrive.
	Watch(f func(Hint)) (stop func())
	// Tell passes a hint to all who watch, here and on other replicas, soon or never.
	Tell(h Hint)
	// Now is the time by the clock that all replicas of a store share.
	Now() time.Time
	// Check tells whether the store works and is as durable as promised.
	Check(ctx context.Context) error
	Close() error
}
