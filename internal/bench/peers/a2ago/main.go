// Command a2ago is an agent behind a2a-go, for the comparison of "make bench-peers".
//
//	a2ago PORT
//
// It keeps its tasks in memory, which is what the module has a store for. What a
// message says decides what the agent does: "wait" leaves a task SUBMITTED, "talk" is
// answered with a message, "story" with an artifact in twenty pieces, any other text
// completes a task at once.
package main

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2asrv"
)

const chunks = 20

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "a2ago:", err)
		os.Exit(1)
	}
}

func serve() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: a2ago PORT")
	}
	handler := a2asrv.NewHandler(worker{}, a2asrv.WithLogger(slog.New(slog.DiscardHandler)))
	return http.ListenAndServe(net.JoinHostPort("127.0.0.1", os.Args[1]), a2asrv.NewJSONRPCHandler(handler))
}

// worker is the agent.
type worker struct{}

// Execute does what the message says.
func (worker) Execute(_ context.Context, w *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	words := w.Message.Parts[0].Text()
	return func(yield func(a2a.Event, error) bool) {
		if words == "talk" {
			yield(a2a.NewMessage(a2a.MessageRoleAgent, a2a.NewTextPart(words)), nil)
			return
		}
		if !yield(a2a.NewSubmittedTask(w, w.Message), nil) || words == "wait" {
			return
		}
		for event := range results(w, words) {
			if !yield(event, nil) {
				return
			}
		}
		yield(a2a.NewStatusUpdateEvent(w, a2a.TaskStateCompleted, nil), nil)
	}
}

// results are the artifacts of a task.
func results(w *a2asrv.ExecutorContext, words string) iter.Seq[a2a.Event] {
	return func(yield func(a2a.Event) bool) {
		if words != "story" {
			yield(a2a.NewArtifactEvent(w, a2a.NewTextPart(words)))
			return
		}
		first := a2a.NewArtifactEvent(w, a2a.NewTextPart("piece 1 "))
		if !yield(first) {
			return
		}
		for n := 2; n <= chunks; n++ {
			if !yield(a2a.NewArtifactUpdateEvent(w, first.Artifact.ID, a2a.NewTextPart(fmt.Sprintf("piece %d ", n)))) {
				return
			}
		}
	}
}

// Cancel ends a task.
func (worker) Cancel(_ context.Context, w *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(w, a2a.TaskStateCanceled, nil), nil)
	}
}
