// Command agent is an agent without a port: it dials in at an arcd and does the
// work that arcd hands it. This one counts words, asks if there are none, and says
// how far it is.
//
//	arcd serve --dev
//	arcd dev token --agent counter --scope arc.agent.receiver,arc.task.notify --unmask -o plain > token
//	go run ./examples/agent -token token
//	arcd task create --agent counter --message 'How many words are these?' --wait
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"strings"
	"syscall"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func main() {
	server := flag.String("server", "http://127.0.0.1:8001", "server")
	token := flag.String("token", "token", "file with a token that names the agent counter")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	agent := &client.Agent{
		Client: &client.Client{URL: *server + "/arc", Token: client.FileToken(*token)},
		IDs:    []string{"counter"},
		Handle: count,
		Served: func() { log.Print("serving") },
		Failed: func(err error) { log.Print(err) },
	}
	if err := agent.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// count does one stretch of work. When the task is canceled or the connection is
// lost, ctx ends, and what is left is somebody else's.
func count(ctx context.Context, w *client.Work) error {
	words := strings.Fields(w.Message.Text())
	if len(words) == 0 {
		return w.NeedInput(ctx, arc.Text(arc.RoleAgent, "There is nothing to count. What shall I count?"))
	}
	for i, word := range words {
		if err := w.Progress(ctx, 100*i/len(words), word); err != nil {
			return err
		}
	}
	return w.Write(ctx, fmt.Sprintf("%d words", len(words)))
}
