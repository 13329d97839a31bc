package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
)

// What the servers that are compared are told to do: the text of a message decides.
const (
	sayWait  = "wait"  // leave the task waiting
	sayTalk  = "talk"  // answer with a message
	sayStory = "story" // answer in pieces
	sayDone  = "Summarise the report in three sentences."
)

// dialect is how one kind of server is asked for what the comparison is about.
type dialect interface {
	// create creates a task that nobody begins.
	create() load
	// complete creates a task, and is over when the caller knows that it is COMPLETED.
	complete() operation
	// chat says a word and reads the answer.
	chat() load
	// story reads an answer in pieces.
	story() load
	// read reads a completed task, which it has done first, on the server at an address.
	read(ctx context.Context, address string) (load, error)
}

// arcDialect is ARC, as arcd and the Python server speak it.
type arcDialect struct {
	token string
	// The agents for each: one that leaves tasks waiting, one that completes them and
	// answers, one that answers in pieces.
	waiter, worker, writer string
	// follows: a task is completed behind the answer to its creation, and who wants to
	// know follows its events.
	follows bool
}

func (d arcDialect) post(body string) []byte {
	return post("/arc", d.token, "application/arc+json", []byte(body))
}

// ask makes the bytes of a call that begins a task or a chat.
func (d arcDialect) ask(method, agent, text, more string) []byte {
	return d.post(fmt.Sprintf(`{"arc":"1.0","id":"1","method":%q,"requestAgent":"bench","targetAgent":%q,"params":{%s"initialMessage":`+
		`{"role":"user","parts":[{"type":"TextPart","content":%q}]}}}`, method, agent, more, text))
}

func (d arcDialect) create() load {
	return load{next: same(d.ask("task.create", d.waiter, sayWait, "")), right: contains(`"SUBMITTED"`)}
}

func (d arcDialect) complete() operation {
	request := d.ask("task.create", d.worker, sayDone, "")
	if !d.follows {
		return load{next: same(request), right: contains(`"COMPLETED"`)}.call
	}
	return func(c *conn, _, _ int) error {
		if err := c.call(request); err != nil {
			return err
		}
		task, err := taskID(c.body)
		if err != nil {
			return err
		}
		return load{next: same(d.post(string(eventsBody(d.worker, task)))), right: contains(`"COMPLETED"`)}.call(c, 0, 0)
	}
}

func (d arcDialect) chat() load {
	return load{next: same(d.ask("chat.start", d.worker, sayTalk, "")), right: contains(`"ACTIVE"`)}
}

func (d arcDialect) story() load {
	return load{next: same(d.ask("chat.start", d.writer, sayStory, `"stream":true,`)), right: rightStream}
}

func (d arcDialect) read(ctx context.Context, address string) (load, error) {
	task, err := firstTask(ctx, address, d.ask("task.create", d.worker, sayDone, ""), taskID)
	body := fmt.Sprintf(`{"arc":"1.0","id":"1","method":"task.info","requestAgent":"bench","targetAgent":%q,"params":{"taskId":%q}}`, d.worker, task)
	return load{next: same(d.post(body)), right: contains(task)}, err
}

// a2aDialect is the JSON-RPC binding of A2A 1.0.
type a2aDialect struct{}

func (a2aDialect) post(method, params string) []byte {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":"1","method":%q,"params":%s}`, method, params)
	return fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		len(body), body)
}

// send makes the bytes of a call that says something.
func (d a2aDialect) send(method, text string, immediately bool) []byte {
	return d.post(method, fmt.Sprintf(`{"message":{"messageId":"m1","role":"ROLE_USER","parts":[{"text":%q}]},"configuration":{"returnImmediately":%t}}`,
		text, immediately))
}

func (d a2aDialect) create() load {
	return load{next: same(d.send("SendMessage", sayWait, true)), right: contains(`"TASK_STATE_SUBMITTED"`)}
}

func (d a2aDialect) complete() operation {
	return load{next: same(d.send("SendMessage", sayDone, false)), right: contains(`"TASK_STATE_COMPLETED"`)}.call
}

func (d a2aDialect) chat() load {
	return load{next: same(d.send("SendMessage", sayTalk, false)), right: contains(`"ROLE_AGENT"`)}
}

func (d a2aDialect) story() load {
	return load{next: same(d.send("SendStreamingMessage", sayStory, false)), right: func(answer []byte) bool {
		return bytes.Count(answer, []byte(`"artifactUpdate"`)) == chunks && bytes.Contains(answer, []byte(`"TASK_STATE_COMPLETED"`))
	}}
}

func (d a2aDialect) read(ctx context.Context, address string) (load, error) {
	task, err := firstTask(ctx, address, d.send("SendMessage", sayDone, false), func(answer []byte) (string, error) {
		var sent struct {
			Result struct {
				Task struct {
					ID string `json:"id"`
				} `json:"task"`
			} `json:"result"`
		}
		err := json.Unmarshal(answer, &sent)
		return sent.Result.Task.ID, err
	})
	return load{next: same(d.post("GetTask", fmt.Sprintf(`{"id":%q}`, task))), right: contains(task)}, err
}

// firstTask makes a call and reads an id out of its answer.
func firstTask(ctx context.Context, address string, request []byte, id func([]byte) (string, error)) (string, error) {
	c, err := dial(ctx, address, 16<<10)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.call(request); err != nil {
		return "", err
	}
	return id(c.body)
}
