package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// The statements of a batch. Each takes arrays, a member for each change, so that the
// server plans and runs one statement however many changes there are.
const (
	// insertKeys, insertThreads and insertLogs make threads, as if every id and every key
	// were free. One that is not is an error.
	insertKeys = `INSERT INTO idem (owner, name, thread, hash, reply, expires)
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[])`

	insertThreads = `INSERT INTO thread (` + columns + `, nonce) SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[],
		$4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[],
		$13::bigint[], $14::bigint[], $15::bigint[], $16::boolean[], $17::bigint[], $18::bigint[], $19::bytea[], $20::bigint[])`

	insertLogs = `INSERT INTO log (thread, pos, seq, events, items)
	SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[])`

	// insertFree makes threads whose id is free and whose key, if there is one, nobody
	// has or has expired, and passes over the others.
	insertFree = `WITH v AS (SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[], $5::text[],
		$6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
		$14::bigint[], $15::bigint[], $16::boolean[], $17::bigint[], $18::bigint[], $19::bytea[], $20::bytea[], $21::bytea[],
		$22::text[], $23::text[], $24::bytea[], $25::bytea[], $26::bigint[])
		AS v (id, kind, owner, sender, agent, trace, parent, status, priority, created, updated, ended, nonce, seq, items,
		ready, rank, due, body, events, packed, key_owner, key_name, hash, reply, expires)),
	k AS (INSERT INTO idem (owner, name, thread, hash, reply, expires)
		SELECT key_owner, key_name, id, hash, reply, expires FROM v
		WHERE key_name IS NOT NULL AND NOT EXISTS (SELECT 1 FROM thread WHERE thread.id = v.id)
		ON CONFLICT (owner, name) DO UPDATE SET thread = excluded.thread, hash = excluded.hash, reply = excluded.reply,
			expires = excluded.expires WHERE idem.expires <= $27
		RETURNING thread),
	t AS (INSERT INTO thread (` + columns + `, nonce)
		SELECT id, kind, owner, sender, agent, trace, parent, status, priority, created, updated, ended, 1, seq, items,
			ready, rank, due, body, nonce
		FROM v WHERE key_name IS NULL OR id IN (SELECT thread FROM k)
		ON CONFLICT (id) DO NOTHING RETURNING id),
	l AS (INSERT INTO log (thread, pos, seq, events, items)
		SELECT v.id, v.seq + v.items, v.seq, v.events, v.packed FROM v JOIN t ON t.id = v.id WHERE v.seq + v.items > 0)
	SELECT id FROM t`

	// updateThreads changes threads whose rev is what the change is based on, and adds a
	// row to their logs. moveThreads also changes what is hardly ever changed.
	updateThreads = `WITH u AS (UPDATE thread t SET ` + updateSet + `
		FROM unnest(` + updateArrays + `) AS v (` + updateNames + `)
		` + updateTail
	moveThreads = `WITH u AS (UPDATE thread t SET ` + updateSet + `, kind = v.kind, owner = v.owner, sender = v.sender,
			agent = v.agent, trace = v.trace, parent = v.parent, created = v.created
		FROM unnest(` + updateArrays + `, $17::smallint[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::bigint[])
		AS v (` + updateNames + `, kind, owner, sender, agent, trace, parent, created)
		` + updateTail

	updateSet = `status = v.status, priority = v.priority, updated = v.updated, ended = v.ended, rev = t.rev + 1,
		seq = t.seq + v.new_events, items = t.items + v.new_items, ready = v.ready, rank = v.rank, due = v.due,
		body = v.body, nonce = v.nonce`
	updateArrays = `$1::integer[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
		$9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[], $13::bigint[], $14::bytea[], $15::bytea[], $16::bytea[]`
	updateNames = `n, id, rev, nonce, status, priority, updated, ended, new_events, new_items, ready, rank, due, body, events, packed`
	updateTail  = `WHERE t.id = v.id AND t.rev = v.rev
		RETURNING v.n, t.id, t.seq, t.items, v.new_events + v.new_items AS added, v.events, v.packed),
	l AS (INSERT INTO log (thread, pos, seq, events, items)
		SELECT id, seq + items, seq, events, packed FROM u WHERE added > 0)
	SELECT n, seq, items FROM u`

	// wakeThreads makes the subscriptions due that wait for an event. It runs behind
	// updateThreads, which holds the threads' rows: so it sees every subscription that
	// was made before them, and those made after see the events.
	wakeThreads = `UPDATE subscription s SET due = $1 FROM unnest($2::text[], $3::bigint[]) AS v (id, nonce)
	WHERE s.thread = v.id AND s.ended IS NULL AND s.due IS NULL
		AND EXISTS (SELECT 1 FROM thread t WHERE t.id = v.id AND t.nonce = v.nonce)
	RETURNING s.thread`
)

// sender is what a batch goes to.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// applying says how changes are made.
type applying int

const (
	quick   applying = iota // as if every id of a new thread were free
	careful                 // after that went wrong
	alone                   // one, in the caller's transaction, who sees to its key
)

// apply makes the changes in one round trip, and notes in each whether it was made.
// Outside of a transaction that is one: PostgreSQL takes all statements up to the end of
// a pipeline together.
func (s *Engine) apply(ctx context.Context, to sender, jobs []*commitJob, how applying) error {
	b := &pgx.Batch{}
	now := s.Now().UnixMilli()
	if len(jobs) > 1 { // in one order everywhere, so that batches seldom wait in a circle
		slices.SortFunc(jobs, func(a, b *commitJob) int { return strings.Compare(a.thread.ID, b.thread.ID) })
	}
	var creates, updates, wakes []*commitJob
	move := false
	for _, j := range jobs {
		j.refused, j.woken = nil, false
		if j.thread.Rev == 0 {
			creates = append(creates, j)
			continue
		}
		updates = append(updates, j)
		move = move || !j.stays
		if j.wake {
			wakes = append(wakes, j)
		}
	}
	if how == quick {
		queueCreates(b, creates)
	} else {
		queueFreeCreates(b, creates, how, now)
	}
	// In one statement, because rows are locked in one order within one only.
	queueUpdates(b, updates, move)
	queueWakes(b, wakes, now)
	return to.SendBatch(ctx, b).Close()
}

// queueCreates queues insertKeys, insertThreads and insertLogs.
func queueCreates(b *pgx.Batch, jobs []*commitJob) {
	if len(jobs) == 0 {
		return
	}
	n := len(jobs)
	c := newThreadColumns(n)
	numbers := make([]int64, 3*n)
	ones, seqs, items := numbers[:n], numbers[n:2*n], numbers[2*n:]
	var keyed []*commitJob
	log := newLogColumns(n)
	for i, j := range jobs {
		c.set(i, j)
		ones[i], seqs[i], items[i] = 1, int64(len(j.events)), int64(len(j.items))
		if len(j.events)+len(j.items) > 0 {
			log.add(c.ids[i], seqs[i]+items[i], seqs[i], j)
		}
		if j.key != nil {
			keyed = append(keyed, j)
		}
		j.made(seqs[i], len(j.items))
	}
	if len(keyed) > 0 {
		slices.SortFunc(keyed, byKey)
		k := newKeyColumns(len(keyed))
		threads := make([]string, len(keyed))
		for i, j := range keyed {
			k.set(i, j.key)
			threads[i] = put(j.thread.ID)
		}
		b.Queue(insertKeys, k.owners, k.names, threads, k.hashes, k.replies, k.expires)
	}
	b.Queue(insertThreads, c.ids, c.kinds, c.owners, c.senders, c.agents, c.traces, c.parents, c.statuses, c.priorities,
		c.created, c.updated, c.ended, ones, seqs, items, c.ready, c.ranks, c.due, c.bodies, c.nonces)
	if len(log.ids) > 0 {
		b.Queue(insertLogs, log.ids, log.places, log.seqs, log.events, log.items)
	}
}

func byKey(a, b *commitJob) int {
	return cmp.Or(strings.Compare(a.key.Owner, b.key.Owner), strings.Compare(a.key.Name, b.key.Name))
}

// queueFreeCreates queues insertFree. What it does not make is refused with
// store.ErrExists; that it is the key that exists is found out later.
func queueFreeCreates(b *pgx.Batch, jobs []*commitJob, how applying, now int64) {
	if len(jobs) == 0 {
		return
	}
	c, k := newThreadColumns(len(jobs)), newKeyColumns(len(jobs))
	seqs, items := make([]int64, len(jobs)), make([]int64, len(jobs))
	events, packed := make([][]byte, len(jobs)), make([][]byte, len(jobs))
	byID := make(map[string]*commitJob, len(jobs))
	for i, j := range jobs {
		c.set(i, j)
		seqs[i], items[i] = int64(len(j.events)), int64(len(j.items))
		events[i], packed[i] = j.packedEvents, j.packedItems
		if j.key != nil && how != alone {
			k.set(i, j.key)
		}
		j.refused = store.ErrExists
		byID[c.ids[i]] = j
	}
	b.Queue(insertFree, c.ids, c.kinds, c.owners, c.senders, c.agents, c.traces, c.parents, c.statuses, c.priorities,
		c.created, c.updated, c.ended, c.nonces, seqs, items, c.ready, c.ranks, c.due, c.bodies, events, packed,
		k.owners, k.names, k.hashes, k.replies, k.expires, now).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			j := byID[id]
			j.refused = nil
			j.made(int64(len(j.events)), len(j.items))
		}
		return rows.Err()
	})
}

// queueUpdates queues updateThreads or, if they move, moveThreads.
func queueUpdates(b *pgx.Batch, jobs []*commitJob, move bool) {
	if len(jobs) == 0 {
		return
	}
	n := len(jobs)
	c := newThreadColumns(n)
	order := make([]int32, n)
	numbers, blobs := make([]int64, 3*n), make([][]byte, 2*n)
	revs, newEvents, newItems := numbers[:n], numbers[n:2*n], numbers[2*n:]
	events, packed := blobs[:n], blobs[n:]
	for i, j := range jobs {
		c.set(i, j)
		order[i], revs[i] = int32(i), j.thread.Rev
		newEvents[i], newItems[i] = int64(len(j.events)), int64(len(j.items))
		events[i], packed[i] = j.packedEvents, j.packedItems
		j.refused = store.ErrConflict
	}
	text := updateThreads
	args := []any{
		order, c.ids, revs, c.nonces, c.statuses, c.priorities, c.updated, c.ended, newEvents, newItems, c.ready, c.ranks,
		c.due, c.bodies, events, packed,
	}
	if move {
		text = moveThreads
		args = append(args, c.kinds, c.owners, c.senders, c.agents, c.traces, c.parents, c.created)
	}
	b.Queue(text, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var n int32
			var seq int64
			var items int
			if err := rows.Scan(&n, &seq, &items); err != nil {
				return err
			}
			jobs[n].refused = nil
			jobs[n].made(seq, items)
		}
		return rows.Err()
	})
}

// queueWakes queues wakeThreads.
func queueWakes(b *pgx.Batch, jobs []*commitJob, now int64) {
	if len(jobs) == 0 {
		return
	}
	ids, nonces := make([]string, len(jobs)), make([]int64, len(jobs))
	for i, j := range jobs {
		ids[i], nonces[i] = put(j.thread.ID), j.nonce
	}
	b.Queue(wakeThreads, now, ids, nonces).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			for _, j := range jobs {
				j.woken = j.woken || j.thread.ID == got(id)
			}
		}
		return rows.Err()
	})
}

// threadColumns holds the members that inserts and updates have in common.
type threadColumns struct {
	ids, owners, senders, agents, statuses, priorities []string
	kinds                                              []int16
	traces, parents                                    []*string
	created, updated, ended, due                       []*int64
	ready                                              []bool
	ranks, nonces                                      []int64
	bodies                                             [][]byte
}

func newThreadColumns(n int) *threadColumns {
	texts, times := make([]string, 6*n), make([]*int64, 4*n)
	optionals := make([]*string, 2*n)
	return &threadColumns{
		ids: texts[:n], owners: texts[n : 2*n], senders: texts[2*n : 3*n], agents: texts[3*n : 4*n],
		statuses: texts[4*n : 5*n], priorities: texts[5*n:],
		kinds: make([]int16, n), traces: optionals[:n], parents: optionals[n:],
		created: times[:n], updated: times[n : 2*n], ended: times[2*n : 3*n], due: times[3*n:],
		ready: make([]bool, n), ranks: make([]int64, n), nonces: make([]int64, n),
		bodies: make([][]byte, n),
	}
}

func (c *threadColumns) set(i int, j *commitJob) {
	t := &j.thread
	c.ids[i], c.owners[i], c.senders[i], c.agents[i] = put(t.ID), put(t.Owner), put(t.From), put(t.Agent)
	c.statuses[i], c.priorities[i], c.kinds[i] = put(t.Status), put(string(t.Priority)), int16(t.Kind)
	c.traces[i], c.parents[i] = optional(t.Trace), optional(t.Parent)
	c.created[i], c.updated[i], c.ended[i], c.due[i] = millis(t.Created), millis(t.Updated), millis(t.Ended), millis(t.Due)
	c.ready[i], c.ranks[i], c.bodies[i] = t.Ready, t.Rank, t.Body
	c.nonces[i] = j.nonce
}

// keyColumns holds the keys of creates; NULL for those that have none.
type keyColumns struct {
	owners, names   []*string
	hashes, replies [][]byte
	expires         []*int64
}

func newKeyColumns(n int) *keyColumns {
	texts, blobs := make([]*string, 2*n), make([][]byte, 2*n)
	return &keyColumns{texts[:n], texts[n:], blobs[:n], blobs[n:], make([]*int64, n)}
}

func (c *keyColumns) set(i int, k *store.Key) {
	owner, name := put(k.Owner), put(k.Name)
	c.owners[i], c.names[i], c.hashes[i], c.replies[i], c.expires[i] = &owner, &name, k.Hash, k.Reply, millis(k.Expires)
}

// logColumns holds rows of the log.
type logColumns struct {
	ids           []string
	places, seqs  []int64
	events, items [][]byte
}

func newLogColumns(n int) *logColumns {
	return &logColumns{make([]string, 0, n), make([]int64, 0, n), make([]int64, 0, n), make([][]byte, 0, n), make([][]byte, 0, n)}
}

func (c *logColumns) add(id string, pos, seq int64, j *commitJob) {
	c.ids, c.places, c.seqs = append(c.ids, id), append(c.places, pos), append(c.seqs, seq)
	c.events, c.items = append(c.events, j.packedEvents), append(c.items, j.packedItems)
}
