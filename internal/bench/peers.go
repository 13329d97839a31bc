package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// peer is a server of the comparison.
type peer struct {
	name    string
	version func(ctx context.Context) (string, error)
	args    func(port int) ([]string, error) // that start it
	dialect dialect
	// size is what it takes on the disk: the program, or the packages below the
	// interpreter.
	size []string
	note string // what it keeps where, and what was switched off

	running     *program
	before      usage
	after       usage
	bytes       int64
	versionText string
}

// What is compared, in the order of the table.
var compared = []string{"task created", "task until COMPLETED", "chat answered", "chat stream of 20 pieces", "task read"}

// operations are what is compared, on one server.
func (p *peer) operations(ctx context.Context) ([]operation, error) {
	read, err := p.dialect.read(ctx, p.running.address)
	d := p.dialect
	return []operation{d.create().call, d.complete(), d.chat().call, d.story().call, read.call}, err
}

// comparison is a run against other servers.
type comparison struct {
	options
	peers []*peer
	// figures are by what is compared, connections, server, and round.
	figures map[figureKey][]figure
}

type figureKey struct {
	what        string
	connections int
	peer        string
}

// figure is what one server showed in one round.
type figure struct {
	perSecond float64
	spread    spread
	cpu       time.Duration // of the server, for one operation
}

// load levels of the comparison.
var levels = []int{1, 8, 32}

// compare measures arcd beside other servers.
func compare(ctx context.Context, o options) (*comparison, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keys, stop, err := serveKeys(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	token, err := keys.token("RS256")
	if err != nil {
		return nil, err
	}
	engine, err := newPostgres(o)
	if err != nil {
		return nil, err
	}
	defer engine.Remove()
	databases := func(name string) (string, error) { return newDatabase(ctx, engine, name) }
	c := &comparison{options: o, figures: make(map[figureKey][]figure)}
	if c.peers, err = peers(o, keys.url, token, databases); err != nil {
		return nil, err
	}
	err = c.run(ctx)
	return c, errors.Join(err, c.stop())
}

// run starts all servers and measures them.
func (c *comparison) run(ctx context.Context) error {
	for n, p := range c.peers {
		if err := c.start(ctx, n, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if err := c.measure(ctx); err != nil {
		return err
	}
	for _, p := range c.peers {
		var err error
		if p.after, err = p.running.use(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// stop ends the servers that run.
func (c *comparison) stop() (err error) {
	for _, p := range c.peers {
		if p.running != nil {
			err = errors.Join(err, p.running.stop())
		}
	}
	return err
}

// serveKeys makes an issuer and serves its keys on loopback, for those who validate
// tokens.
func serveKeys(ctx context.Context) (keys *issuer, stop func(), err error) {
	if keys, err = newIssuer(); err != nil {
		return nil, nil, err
	}
	set, err := keys.keySet()
	if err != nil {
		return nil, nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	keys.url = "http://" + ln.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(set)
	})
	ctx, cancel := context.WithCancel(ctx)
	s := serveHandler(ctx, ln, mux)
	return keys, func() {
		cancel()
		_ = s.wait() // nothing depends on it any more
	}, nil
}

// start starts a server, and looks at what it is and holds before any load.
func (c *comparison) start(ctx context.Context, n int, p *peer) (err error) {
	if p.versionText, err = p.version(ctx); err != nil {
		return err
	}
	for _, path := range p.size {
		size, err := sizeOnDisk(path)
		if err != nil {
			return err
		}
		p.bytes += size
	}
	port, err := pgtest.FreePort()
	if err != nil {
		return err
	}
	args, err := p.args(port)
	if err != nil {
		return err
	}
	if p.running, err = startProgram(ctx, c.dir, "peer-"+strconv.Itoa(n), port, args, p.dialect.create().call); err != nil {
		return err
	}
	p.before, err = p.running.use()
	return err
}

// measure runs all operations on all servers in turn, again and again. A short round
// before warms up and does not count.
func (c *comparison) measure(ctx context.Context) error {
	operations := make([][]operation, len(c.peers))
	for n, p := range c.peers {
		var err error
		if operations[n], err = p.operations(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	for round := range c.rounds + 1 {
		d := c.duration
		if round == 0 {
			d /= 5
		}
		for w, what := range compared {
			for _, connections := range levels {
				for n, p := range c.peers {
					f, err := p.measure(ctx, operations[n][w], connections, d, c.limit)
					if err != nil {
						return fmt.Errorf("%s: %s: %w", p.name, what, err)
					}
					if key := (figureKey{what, connections, p.name}); round > 0 {
						c.figures[key] = append(c.figures[key], f)
					}
				}
			}
		}
	}
	return nil
}

// measure does an operation for a while.
func (p *peer) measure(ctx context.Context, op operation, connections int, d time.Duration, limit int) (figure, error) {
	before, err := p.running.use()
	if err != nil {
		return figure{}, err
	}
	t, err := closedLoop(ctx, []string{p.running.address}, connections, d, limit, op)
	if err != nil {
		return figure{}, err
	}
	after, err := p.running.use()
	return figure{
		perSecond: t.perSecond(), spread: t.spread(), cpu: (after.CPU - before.CPU) / time.Duration(max(len(t.each), 1)),
	}, err
}

// figure gives the medians over the rounds.
func (c *comparison) figure(what string, connections int, p *peer) figure {
	var rates, middles, mosts, cpus []float64
	for _, f := range c.figures[figureKey{what, connections, p.name}] {
		rates, cpus = append(rates, f.perSecond), append(cpus, float64(f.cpu))
		middles, mosts = append(middles, float64(f.spread.middle)), append(mosts, float64(f.spread.most))
	}
	return figure{
		perSecond: median(rates), cpu: time.Duration(median(cpus)),
		spread: spread{middle: time.Duration(median(middles)), most: time.Duration(median(mosts))},
	}
}

// ratio gives the median over the rounds of a server's rate to that of the first.
func (c *comparison) ratio(what string, connections int, p *peer) float64 {
	var ratios []float64
	first := c.figures[figureKey{what, connections, c.peers[0].name}]
	for i, f := range c.figures[figureKey{what, connections, p.name}] {
		ratios = append(ratios, f.perSecond/first[i].perSecond)
	}
	return median(ratios)
}

// sizeOnDisk adds up the files at a path and below; not what an installer of packages
// brings for itself.
func sizeOnDisk(path string) (size int64, err error) {
	installer := []string{"pip", "setuptools", "__pycache__"}
	err = filepath.WalkDir(path, func(_ string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(installer, entry.Name()):
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
