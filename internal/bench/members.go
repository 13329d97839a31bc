package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

const page = 100 // agents of a list

// The names of the registry's workloads in the results.
const (
	listL0, listArcd     = "L0 list", "list of 100 agents"
	getL0, getArcd       = "L0 get", "get an agent"
	searchL0, searchArcd = "L0 search", "search, 3 words"
	beatL0, beatArcd     = "L0 heartbeat", "heartbeat"
)

// startRegistry starts the registry's server and waits until its agents have
// registered.
func (b *bench) startRegistry(ctx context.Context) (*process, error) {
	if b.agents < page {
		return nil, fmt.Errorf("%d agents are too few for a page of %d", b.agents, page)
	}
	p, err := b.start(ctx, "registry", childAgents+"="+strconv.Itoa(b.agents), childSilence+"="+b.silence.String())
	if err != nil {
		return nil, err
	}
	b.members, err = readTokens(filepath.Join(b.dir, "registry"))
	return p, err
}

// memberLoads prepares the workloads of the registry, each behind one on a bare
// handler that gets the same request and answers as many bytes.
func (b *bench) memberLoads(ctx context.Context) ([]workload, error) {
	token := b.members[0]
	reading := func(path string) []byte { return get(path, token) }
	posting := func(body string) func(string) []byte {
		return func(path string) []byte { return post(path, token, "application/json", []byte(body)) }
	}
	some, question := agentID(b.agents/2), posting(`{"query":"`+query+`","top_k":10}`)
	var loads []workload
	for _, w := range []struct {
		bare, name string
		load       load
		request    func(path string) []byte
	}{
		{listL0, listArcd, load{next: same(reading(fmt.Sprintf("/agents?limit=%d", page))), right: rightPage}, reading},
		{getL0, getArcd, load{next: same(reading("/agents/" + some)), right: contains(some)}, reading},
		{searchL0, searchArcd, load{next: same(question("/agents/search")), right: contains(`"similarity"`)}, question},
		{beatL0, beatArcd, b.heartbeat(), posting("")},
	} {
		answer, err := b.onceOn(ctx, b.registry, w.load)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		size := len(answer)
		bare := load{
			next:  same(w.request(fmt.Sprintf("/plain/%d", size))),
			right: func(answer []byte) bool { return len(answer) == size },
		}
		loads = append(loads, workload{w.bare, fleet{b.bare}, bare}, workload{w.name, fleet{b.registry}, w.load})
	}
	return loads, nil
}

// rightPage tells whether an answer is a full page of agents.
func rightPage(answer []byte) bool { return bytes.Count(answer, []byte(`"agent_type":`)) == page }

// heartbeat is the load of all agents saying that they are alive, each with its
// own token, one after the other.
func (b *bench) heartbeat() load {
	requests := make([][]byte, len(b.members))
	for n, token := range b.members {
		requests[n] = post("/agents/"+agentID(n)+"/heartbeat", token, "application/json", nil)
	}
	return load{
		next:  func(connection, n int) []byte { return requests[(n*b.connections+connection)%len(requests)] },
		right: contains(`"success"`),
	}
}

// firstBeats has each agent send its first heartbeat, with a token that the
// server has not seen.
func (b *bench) firstBeats(ctx context.Context) (measured, error) {
	each := (len(b.members) + b.connections - 1) / b.connections
	return b.registry.measure(ctx, b.heartbeat(), b.connections, time.Minute, each)
}
