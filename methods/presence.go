package methods

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Marks is where the replicas of a store note that they are there. [store.Registry]
// has these methods, and says what they do.
type Marks interface {
	SetMark(ctx context.Context, m store.Mark) error
	Unmark(ctx context.Context, kind, value string) (bool, error)
	Marks(ctx context.Context, kind string, now time.Time) ([]store.Mark, error)
	FindMark(ctx context.Context, kind, value string, now time.Time) (*store.Mark, error)
}

// Presence knows which agents are connected to this process, and is told which are
// connected to the other replicas. Its methods must be quick.
type Presence interface {
	// Here gives the ids of the agents that are connected, and a channel that is closed
	// when they are others.
	Here() (ids []string, changed <-chan struct{})
	// There takes the ids of those that are connected to other replicas, in place of the
	// ones before.
	There(ids []string)
}

// The kinds of marks by which replicas know each other. The first is small, renewed
// often and read each second; it names the version of the second, which has the agents
// and is written when they change.
const (
	replicaMark   = "replica"   // value: id of the replica; body: version of its agents, "" without any
	connectedMark = "connected" // value: id of the replica; body: that version and the ids, a line each
)

// Times of the marks.
const (
	replicaLasts   = 10 * time.Second // without a sign of life
	replicaRenewed = 3 * time.Second
	replicaLook    = time.Second // between two looks at the others, at most
	// replicaPause is the least time between two looks, and between two notes.
	replicaPause   = 100 * time.Millisecond
	connectedLasts = time.Hour
)

// replicas is what a process knows of the others that share its store.
type replicas struct {
	id   string        // of this process; part of its leases
	look chan struct{} // one slot: somebody has written a mark

	mu     sync.Mutex // guards what follows
	others map[string]replica
	looked bool // others has been read once
}

// replica is another process.
type replica struct {
	version string
	agents  []string
}

func newReplicas() *replicas {
	return &replicas{id: rand.Text()[:10], look: make(chan struct{}, 1)}
}

// lease makes the token under which this process works on something.
func (r *replicas) lease() string { return r.id + "." + rand.Text() }

// holds tells whether a lease is one of another process that is there.
func (r *replicas) holds(lease string) bool {
	id, _, _ := strings.Cut(lease, ".")
	r.mu.Lock()
	defer r.mu.Unlock()
	_, there := r.others[id]
	return there
}

// met tells whether the others have been looked for.
func (r *replicas) met() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looked
}

// alone tells whether there were none at the last look.
func (r *replicas) alone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looked && len(r.others) == 0
}

// place gives the number of this process among all that are there, as each of them
// counts.
func (r *replicas) place() (place, of int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.others {
		if id < r.id {
			place++
		}
	}
	return place, len(r.others) + 1
}

// shared tells whether other processes may have the store too.
func (s *Service) shared() bool { return s.cfg.Marks != nil }

// meetReplicas notes in the store that this process is there, and which agents are
// connected to it, and looks for the others, until ctx ends.
func (s *Service) meetReplicas(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.noteHere(ctx) })
	wg.Go(func() { s.lookThere(ctx) })
	wg.Wait()
}

// noteHere keeps the marks of this process, and removes them in the end.
func (s *Service) noteHere(ctx context.Context) {
	n := &note{marks: s.cfg.Marks, id: s.replicas.id}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), replicaRenewed)
		defer cancel()
		n.remove(ctx) // else they run out
	}()
	draining := s.draining
	for ctx.Err() == nil {
		ids, changed := s.here()
		again := replicaRenewed
		if err := n.write(ctx, ids, s.now()); err != nil {
			s.logFailure(err, "telling the other replicas which agents are connected", "")
			again = replicaLook
		}
		if !wait(ctx, replicaPause, nil) {
			return
		}
		timer := time.NewTimer(again - replicaPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-changed:
		case <-draining:
			draining = nil
		}
		timer.Stop()
	}
}

// here gives the agents that take work from this process: none once it drains.
func (s *Service) here() (ids []string, changed <-chan struct{}) {
	if s.cfg.Presence == nil {
		return nil, nil
	}
	ids, changed = s.cfg.Presence.Here()
	select {
	case <-s.draining:
		return nil, nil
	default:
		return ids, changed
	}
}

// wait waits for some time or a word; false: ctx has ended.
func wait(ctx context.Context, d time.Duration, word <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-word:
	case <-ctx.Done():
		return false
	}
	return true
}

// note is what a process has written of itself.
type note struct {
	marks   Marks
	id      string
	agents  []string
	version string
	written time.Time // of agents; zero: not
}

// write writes what is due: the agents first, so that who reads the version finds
// them.
func (n *note) write(ctx context.Context, agents []string, now time.Time) error {
	if n.version == "" && len(agents) > 0 || !slices.Equal(agents, n.agents) {
		n.agents, n.version, n.written = slices.Clone(agents), "", time.Time{}
		if len(agents) > 0 {
			n.version = rand.Text()[:10]
		}
	}
	if n.version != "" && now.Sub(n.written) > connectedLasts/2 {
		body := []byte(n.version + "\n" + strings.Join(n.agents, "\n"))
		err := n.marks.SetMark(ctx, store.Mark{Kind: connectedMark, Value: n.id, Body: body, Expires: now.Add(connectedLasts)})
		if err != nil {
			return fmt.Errorf("noting agents: %w", err)
		}
		n.written = now
	}
	err := n.marks.SetMark(ctx, store.Mark{Kind: replicaMark, Value: n.id, Body: []byte(n.version), Expires: now.Add(replicaLasts)})
	if err != nil {
		return fmt.Errorf("noting this replica: %w", err)
	}
	return nil
}

// remove says that the process is gone.
func (n *note) remove(ctx context.Context) {
	for _, kind := range []string{replicaMark, connectedMark} {
		_, _ = n.marks.Unmark(ctx, kind, n.id)
	}
}

// lookThere looks for the other processes again and again.
func (s *Service) lookThere(ctx context.Context) {
	for {
		if err := s.lookOnce(ctx); err != nil {
			// What was known stays so: a store that cannot be read says nothing of them.
			s.logFailure(err, "looking for the other replicas", "")
		}
		if !wait(ctx, replicaPause, nil) || !wait(ctx, replicaLook-replicaPause, s.replicas.look) {
			return
		}
	}
}

// lookOnce reads the marks of the other processes.
func (s *Service) lookOnce(ctx context.Context) error {
	now := s.now()
	marks, err := s.cfg.Marks.Marks(ctx, replicaMark, now)
	if err != nil {
		return err
	}
	r := s.replicas
	r.mu.Lock()
	before := r.others
	r.mu.Unlock()
	others := make(map[string]replica, len(marks))
	changed := false
	for _, m := range marks {
		if m.Value == r.id {
			continue
		}
		known := before[m.Value]
		if version := string(m.Body); version != known.version {
			changed = true
			if known, err = s.readReplica(ctx, m.Value, version, now); err != nil {
				return err
			}
		}
		others[m.Value] = known
	}
	for id := range before {
		if _, there := others[id]; !there {
			changed = true
		}
	}
	r.mu.Lock()
	r.others, r.looked = others, true
	r.mu.Unlock()
	if changed && s.cfg.Presence != nil {
		var ids []string
		for _, other := range others {
			ids = append(ids, other.agents...)
		}
		slices.Sort(ids)
		s.cfg.Presence.There(slices.Compact(ids))
	}
	return nil
}

// readReplica reads which agents are connected to another process.
func (s *Service) readReplica(ctx context.Context, id, version string, now time.Time) (replica, error) {
	if version == "" {
		return replica{}, nil
	}
	m, err := s.cfg.Marks.FindMark(ctx, connectedMark, id, now)
	if err != nil || m == nil {
		return replica{}, err
	}
	found, ids, _ := strings.Cut(string(m.Body), "\n") // perhaps of a newer version; the next look finds its mark
	return replica{version: found, agents: strings.Split(ids, "\n")}, nil
}
