package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

const chunks = 20 // of a streamed chat answer

// The names of the workloads in the results.
const (
	createL0, createLD, createArcd = "L0 create", "LD create", "task.create"
	infoL0, infoArcd               = "L0 info", "task.info"
	streamL0, streamArcd           = "bare stream", "chat stream"
	doneArcd                       = "created to COMPLETED"

	// The same where the state is in PostgreSQL.
	createOne = "task.create, PostgreSQL"
	createTwo = "task.create, PostgreSQL, 2 replicas"
	infoOne   = "task.info, PostgreSQL"
	streamOne = "chat stream, PostgreSQL"
	doneOne   = "created to COMPLETED, PostgreSQL"
	doneTwo   = "created to COMPLETED, PostgreSQL, 2 replicas"
)

// workload is a load with its name and its servers.
type workload struct {
	name string
	on   fleet
	load load
}

// loads prepares the workloads of a round, in their order. Answers' sizes are
// taken from one call to arcd each.
func (b *bench) loads(ctx context.Context) ([]workload, error) {
	task, err := b.completedTask(ctx, b.arcd)
	if err != nil {
		return nil, err
	}
	other, err := b.completedTask(ctx, b.one.servers[0])
	if err != nil {
		return nil, err
	}
	info, infoOfOne := b.info(task), b.info(other)
	stream := load{
		next:  same(post("/arc", b.token, "application/arc+json", streamBody)),
		right: rightStream,
	}
	create := b.create("queue")
	createSize, err := b.sizeOf(ctx, create)
	if err != nil {
		return nil, err
	}
	infoSize, err := b.sizeOf(ctx, info)
	if err != nil {
		return nil, err
	}
	streamSize, err := b.sizeOf(ctx, stream)
	if err != nil {
		return nil, err
	}
	event := streamSize / (chunks + 1)
	bare, arcd := fleet{b.bare}, fleet{b.arcd}
	return []workload{
		{createL0, bare, b.same("/plain/%d", createBody("queue"), createSize)},
		{createLD, bare, b.same("/durable/%d", createBody("queue"), createSize)},
		{createArcd, arcd, create},
		{createOne, b.one.servers, create},
		{createTwo, b.two.servers, create},
		{infoL0, bare, b.same("/plain/%d", infoBody(task), infoSize)},
		{infoArcd, arcd, info},
		{infoOne, b.one.servers, infoOfOne},
		{streamL0, bare, b.events(event)},
		{streamArcd, arcd, stream},
		{streamOne, b.one.servers, stream},
	}, nil
}

// same makes the load on a bare handler that fits a load on arcd: the same
// request, the same size of answer.
func (b *bench) same(path string, body []byte, size int) load {
	return load{
		next:  same(post(fmt.Sprintf(path, size), b.token, "application/arc+json", body)),
		right: func(answer []byte) bool { return len(answer) == size },
	}
}

func (b *bench) events(size int) load {
	path := fmt.Sprintf("/events/%d/%d", size, chunks+1)
	return load{
		next:  same(post(path, b.token, "application/arc+json", streamBody)),
		right: func(answer []byte) bool { return len(answer) == size*(chunks+1) },
	}
}

// post makes a call of the benchmark's caller.
func (b *bench) post(body []byte) []byte {
	return post("/arc", b.token, "application/arc+json", body)
}

// info is the load of reading a completed task.
func (b *bench) info(task string) load {
	return load{next: same(b.post(infoBody(task))), right: contains(`"COMPLETED"`)}
}

// create is the load of giving tasks to an agent.
func (b *bench) create(agent string) load {
	return load{
		next:  same(post("/arc", b.token, "application/arc+json", createBody(agent))),
		right: contains(`"SUBMITTED"`),
	}
}

func createBody(agent string) []byte {
	return []byte(`{"arc":"1.0","id":"1","method":"task.create","requestAgent":"bench","targetAgent":"` + agent +
		`","params":{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"Summarise the report in three sentences."}]}}}`)
}

func infoBody(task string) []byte {
	return []byte(`{"arc":"1.0","id":"1","method":"task.info","requestAgent":"bench","targetAgent":"echo","params":{"taskId":"` + task + `"}}`)
}

func eventsBody(agent, task string) []byte {
	return []byte(`{"arc":"1.0","id":"1","method":"task.events","requestAgent":"bench","targetAgent":"` + agent + `","params":{"taskId":"` + task + `"}}`)
}

// story is what is said in a chat whose answer is streamed.
const story = "Tell me a story."

func chatBody(agent string, stream bool) []byte {
	said := "Say a word."
	if stream {
		said = story
	}
	return fmt.Appendf(nil, `{"arc":"1.0","id":"1","method":"chat.start","requestAgent":"bench","targetAgent":"%s",`+
		`"params":{"stream":%t,"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"%s"}]}}}`, agent, stream, said)
}

var streamBody = chatBody("chat", true)

func rightStream(answer []byte) bool {
	text := string(answer)
	return strings.Count(text, "event: stream\n") == chunks && strings.Count(text, "event: done\n") == 1
}

// sizeOf makes one call and gives the size of its answer.
func (b *bench) sizeOf(ctx context.Context, l load) (int, error) {
	return b.sizeOn(ctx, b.arcd, l)
}

func (b *bench) sizeOn(ctx context.Context, p *process, l load) (int, error) {
	answer, err := b.onceOn(ctx, p, l)
	return len(answer), err
}

func (b *bench) once(ctx context.Context, l load) ([]byte, error) {
	return b.onceOn(ctx, b.arcd, l)
}

func (b *bench) onceOn(ctx context.Context, p *process, l load) ([]byte, error) {
	c, err := dial(ctx, p.address, 16<<10)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.call(l.next(0, 0)); err != nil {
		return nil, err
	}
	if !l.right(c.body) {
		return nil, fmt.Errorf("wrong answer: %s", c.body)
	}
	return c.body, nil
}

// completedTask has echo do one task on a server and gives its id.
func (b *bench) completedTask(ctx context.Context, on *process) (string, error) {
	answer, err := b.onceOn(ctx, on, b.create("echo"))
	if err != nil {
		return "", err
	}
	id, err := taskID(answer)
	if err != nil {
		return "", err
	}
	read := load{
		next:  same(post("/arc", b.token, "application/arc+json", infoBody(id))),
		right: contains(id),
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := b.onceOn(ctx, on, read)
		if err != nil {
			return "", err
		}
		if contains(`"COMPLETED"`)(answer) {
			return id, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("echo does not complete: %s", answer)
		}
	}
}

// taskID reads the id out of an answer to task.create.
func taskID(answer []byte) (string, error) {
	var created struct {
		Result struct {
			Task struct {
				ID string `json:"taskId"`
			} `json:"task"`
		} `json:"result"`
	}
	err := json.Unmarshal(answer, &created)
	return created.Result.Task.ID, err
}
