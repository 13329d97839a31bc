package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
)

// serveFar serves an agent that has a server of its own, and does nothing but
// answer: it is called directly, and through arcd.
func serveFar(ctx context.Context, ln net.Listener, _ string) (served, error) {
	var far farAgent
	mux := http.NewServeMux()
	mux.Handle("POST /arc", &far)
	return serveHandler(ctx, ln, mux), nil
}

// serveHandler serves a handler until ctx ends.
func serveHandler(ctx context.Context, ln net.Listener, handler http.Handler) served {
	srv := &http.Server{Handler: handler}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	return served{wait: func() error {
		<-ctx.Done()
		_ = srv.Close()
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}
}

// farAgent answers ARC calls at once: a task is COMPLETED with one artifact, a chat
// says what the workload of streams says.
type farAgent struct {
	last atomic.Int64 // number of the last task or chat
}

// farCall is what the agent reads of a call.
type farCall struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	From   string          `json:"requestAgent"`
	To     string          `json:"targetAgent"`
	Trace  string          `json:"traceId"`
	Params struct {
		Stream bool `json:"stream"`
	} `json:"params"`
}

func (f *farAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := read(r)
	defer buffers.Put(body)
	var call farCall
	if err := json.Unmarshal(body.Bytes(), &call); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	id := "far-" + strconv.FormatInt(f.last.Add(1), 10)
	switch call.Method {
	case "task.create":
		reply(w, &call, `{"type":"task","task":{"taskId":"`+id+`","status":"COMPLETED","createdAt":"2030-01-01T00:00:00Z",`+
			`"artifacts":[{"artifactId":"`+id+`-1","name":"summary","parts":[{"type":"TextPart","content":"`+farSummary+`"}]}]}}`)
	case "chat.start":
		if call.Params.Stream {
			farStream(w, id)
			return
		}
		reply(w, &call, `{"type":"chat","chat":{"chatId":"`+id+`","status":"ACTIVE","message":{"role":"agent","parts":[{"type":"TextPart","content":"`+farSummary+`"}]}}}`)
	default:
		http.Error(w, "this agent does not know "+call.Method, http.StatusNotImplemented)
	}
}

// farSummary is what the agent makes of everything.
const farSummary = "The report says what it says, in three sentences, of which this is the only one."

// reply writes a result in the envelope of ARC.
func reply(w http.ResponseWriter, call *farCall, result string) {
	w.Header().Set("Content-Type", "application/arc+json")
	trace := ""
	if call.Trace != "" {
		trace = fmt.Sprintf(`"traceId":%q,`, call.Trace)
	}
	_, _ = fmt.Fprintf(w, `{"arc":"1.0","id":%s,"responseAgent":%q,"targetAgent":%q,%s"result":%s,"error":null}`,
		call.ID, call.To, call.From, trace, result)
}

// farStream writes the answer of the stream workload, piece by piece.
func farStream(w http.ResponseWriter, id string) {
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for i := range chunks {
		_, err := fmt.Fprintf(w, "event: stream\ndata: {\"chatId\":%q,\"message\":{\"role\":\"agent\",\"parts\":[{\"type\":\"TextPart\",\"content\":%q}]}}\n\n",
			id, chunk(i))
		if err != nil || rc.Flush() != nil {
			return
		}
	}
	_, _ = fmt.Fprintf(w, "event: done\ndata: {\"chatId\":%q,\"status\":\"ACTIVE\",\"done\":true}\n\n", id)
}
