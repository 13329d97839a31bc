// Command m2m calls as a machine: it gets a token with its client credentials
// (RFC 6749, 4.4) and creates a task. Nobody looks after the token: it is kept
// until shortly before it expires, and replaced at once if the server says that
// it has expired earlier.
//
//	arcd client add robot --scope arc.task.controller,arc.agent.caller
//	ROBOT_SECRET=… go run ./examples/m2m -id robot
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func main() {
	server := flag.String("server", "http://127.0.0.1:8001", "server")
	id := flag.String("id", "", "client id; its secret is in ROBOT_SECRET")
	flag.Parse()
	ctx := context.Background()

	c := &client.Client{URL: *server + "/arc", Agent: *id}
	auth, err := c.Discover(ctx)
	if err != nil {
		log.Fatal(err)
	}
	c = &client.Client{URL: *server + "/arc", Agent: *id, Token: &client.ClientCredentials{
		TokenURL: auth.TokenEndpoint, ClientID: *id, ClientSecret: os.Getenv("ROBOT_SECRET"),
	}}

	// The key makes it safe to call twice, so a broken connection is no trouble.
	message := arc.Text(arc.RoleUser, "from a machine")
	task, err := c.CreateTask(ctx, "echo", arc.CreateTaskParams{InitialMessage: &message, IdempotencyKey: "m2m-example-1"})
	switch {
	case errors.Is(err, arc.ErrAuthentication):
		log.Fatal("wrong id or secret: ", err)
	case errors.Is(err, arc.ErrPermission):
		log.Fatal("the client may not create tasks: ", err)
	case err != nil:
		log.Fatal(err)
	}
	fmt.Println("created", task.ID, task.Status)
}
