package registry

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// The outcomes of what the audit log holds.
const (
	outcomeOK      = "ok"
	outcomeRefused = "refused"
)

// entry is a line of the audit log before it knows its caller.
type entry struct {
	Event    string
	Actor    string // "": the caller's subject
	Agent    string
	Reason   string
	AuthType string // for counters
	Type     string // agent type, for counters
	refused  bool
	Detail   map[string]any
}

// auditLog writes the log: a line for the operator at once, and to the store in
// groups.
type auditLog struct {
	mu      sync.Mutex // guards what follows
	waiting []store.AuditEntry
	dropped int // refusals that were not kept since the last write

	refusals *rate.Limiter

	writing sync.Mutex // held while a group is written
	wake    chan struct{}
}

// Refusals are what a flood is made of: anybody can cause them. Beyond these
// bounds they are only counted.
const (
	maxWaiting      = 4096 // entries in memory
	refusalsAtOnce  = 2000
	refusalsASecond = 10 // in the long run
)

func (l *auditLog) begin() {
	l.wake = make(chan struct{}, 1)
	l.refusals = rate.NewLimiter(refusalsASecond, refusalsAtOnce)
}

// auditBody is what the store keeps of an entry besides its columns.
type auditBody struct {
	Remote    string         `json:"remote,omitempty"`
	RequestID string         `json:"request_id,omitempty"`
	Reason    string         `json:"reason,omitempty"`
	Detail    map[string]any `json:"detail,omitempty"`
}

// record writes an entry.
func (r *Registry) record(c *Caller, e entry) {
	if e.Actor == "" && c.Principal != nil {
		e.Actor = actor(c.Principal)
	}
	outcome, level := outcomeOK, zerolog.InfoLevel
	if e.refused {
		outcome, level = outcomeRefused, zerolog.WarnLevel
	}
	r.cfg.Observe(Happening{Event: e.Event, Outcome: outcome, AgentType: e.Type, AuthType: e.AuthType, Reason: e.Reason})
	line := r.log.WithLevel(level).Str("event", e.Event).Str("outcome", outcome).Str("request_id", c.RequestID).
		Str("remote", c.Remote).Str("actor", cut(e.Actor)).Str("agent_id", cut(e.Agent))
	if e.Reason != "" {
		line = line.Str("reason", e.Reason)
	}
	if len(e.Detail) > 0 {
		line = line.Interface("detail", e.Detail)
	}
	line.Send()
	r.keep(c, e, outcome)
}

// actor names a caller. In front of the subjects of other issuers goes the
// provider's name and a blank, which no subject of arcd's own has: so nobody passes
// for somebody else whose subject it chose.
func actor(p *auth.Principal) string {
	if p.Provider == auth.IssuerName {
		return p.Subject
	}
	return p.Provider + " " + p.Subject
}

// keep hands an entry to the store's writer.
func (r *Registry) keep(c *Caller, e entry, outcome string) {
	body, err := json.Marshal(auditBody{c.Remote, c.RequestID, e.Reason, e.Detail})
	if err != nil {
		r.log.Error().Err(err).Str("event", "audit_failed").Send()
		return
	}
	r.audit.add(store.AuditEntry{At: r.now(), Body: body, Event: e.Event, Outcome: outcome, Actor: cut(e.Actor), Agent: cut(e.Agent)})
}

// refused writes that a call was refused. Failures of the server are not
// refusals.
func (r *Registry) refused(c *Caller, event, agent string, err error) {
	r.refusedAs(c, entry{Event: event, Agent: agent}, err)
}

func (r *Registry) refusedAs(c *Caller, e entry, err error) {
	failure, ok := errors.AsType[*arc.Error](err)
	if !ok || failure.Code == arc.CodeInternal {
		return
	}
	e.refused, e.Reason = true, failure.ErrorCode()
	r.record(c, e)
}

// Refused writes that a route refused its caller before any operation.
func (r *Registry) Refused(c *Caller, route string, err error) {
	r.refusedAs(c, entry{Event: "refused", AuthType: "token", Detail: map[string]any{"route": route}}, err)
}

// Record keeps what another part of the token service did and has logged: event
// is token_issued or token_revoked, refusal is "" unless it was refused. Detail must
// hold no secret.
func (r *Registry) Record(c *Caller, event, actor, refusal string, detail map[string]any) {
	outcome := outcomeOK
	if refusal != "" {
		outcome = outcomeRefused
	}
	r.cfg.Observe(Happening{Event: event, Outcome: outcome, AuthType: "client", Reason: refusal})
	r.keep(c, entry{Event: event, Actor: actor, Reason: refusal, Detail: detail}, outcome)
}

// cut bounds what callers say of themselves.
func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), 256)], "") }

func (l *auditLog) add(e store.AuditEntry) {
	l.mu.Lock()
	if e.Outcome == outcomeRefused && (len(l.waiting) >= maxWaiting || !l.refusals.AllowN(e.At, 1)) {
		l.dropped++
		l.mu.Unlock()
		return
	}
	l.waiting = append(l.waiting, e)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flushAudit writes what waits, in one transaction.
func (r *Registry) flushAudit(ctx context.Context) error {
	l := &r.audit
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	group, dropped := l.waiting, l.dropped
	l.waiting, l.dropped = nil, 0
	l.mu.Unlock()
	if dropped > 0 {
		body, _ := json.Marshal(auditBody{Detail: map[string]any{"entries": dropped}}) // a number: cannot fail
		group = append(group, store.AuditEntry{At: r.now(), Body: body, Event: "refusals_dropped", Outcome: outcomeOK})
	}
	if len(group) == 0 {
		return nil
	}
	err := r.store.AppendAudit(ctx, group)
	if err != nil {
		l.mu.Lock()
		fits := len(l.waiting)+len(group) <= 2*maxWaiting
		if fits {
			l.waiting = append(group, l.waiting...)
		}
		l.mu.Unlock()
		if !fits { // the operator's log has had a line for each
			r.log.Error().Str("event", "audit_lost").Int("entries", len(group)).Send()
		}
	}
	return err
}

// maxAuditPage and auditPage are the largest and the usual page of the log.
const (
	maxAuditPage = 1000
	auditPage    = 100
)

// auditEvents lists what the log tells of.
var auditEvents = []string{
	"login", "logout", "token_issued", "token_refreshed", "token_revoked", "registered", "unregistered", "validated",
	"heartbeat", "metrics", "refused", "refusals_dropped",
}

// AuditFilter selects entries of the audit log.
type AuditFilter struct {
	Event, Outcome, Actor, Agent string    // "": any
	From, To                     time.Time // To is exclusive; zero: no end
	Cursor                       string    // AuditPage.Next of the page before
	Limit                        int       // 1 to 1000; 0: 100
}

// Audit is GET /audit: a page of the log, newest first. It holds everything that
// happened before the call.
//
// Errors: invalid-input.
func (r *Registry) Audit(ctx context.Context, f AuditFilter) (*arc.AuditPage, error) {
	defaultTo(&f.Limit, auditPage)
	if f.Limit < 1 || f.Limit > maxAuditPage {
		return nil, missingField("limit", "limit must be 1 to "+strconv.Itoa(maxAuditPage))
	}
	if f.Event != "" && !slices.Contains(auditEvents, f.Event) {
		return nil, missingField("event", "event must be one of "+strings.Join(auditEvents, ", "))
	}
	if f.Outcome != "" && f.Outcome != outcomeOK && f.Outcome != outcomeRefused {
		return nil, missingField("outcome", "outcome must be ok or refused")
	}
	q := store.AuditQuery{
		Event: f.Event, Outcome: f.Outcome, Actor: f.Actor, Agent: f.Agent, From: f.From, To: f.To, Limit: f.Limit + 1,
	}
	if f.Cursor != "" {
		var err error
		if q.Before, err = strconv.ParseInt(f.Cursor, 10, 64); err != nil || q.Before < 1 {
			return nil, missingField("cursor", "cursor must be the next of an earlier page")
		}
	}
	if err := r.flushAudit(ctx); err != nil {
		return nil, err
	}
	rows, err := r.store.Audit(ctx, q)
	if err != nil {
		return nil, err
	}
	page := &arc.AuditPage{Entries: make([]arc.AuditEntry, 0, len(rows))}
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		page.Next = strconv.FormatInt(rows[f.Limit-1].ID, 10)
	}
	for _, row := range rows {
		var body struct {
			auditBody
			Detail json.RawMessage `json:"detail"`
		}
		if err := json.Unmarshal(row.Body, &body); err != nil {
			return nil, err
		}
		page.Entries = append(page.Entries, arc.AuditEntry{
			ID: row.ID, At: arc.At(row.At), Event: row.Event, Outcome: row.Outcome, Actor: row.Actor, AgentID: row.Agent,
			Remote: body.Remote, RequestID: body.RequestID, Reason: body.Reason, Detail: body.Detail,
		})
	}
	return page, nil
}
