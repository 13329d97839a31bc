// Command quickstart gives the demo agent echo a task and waits for its end.
//
//	go run ./examples/quickstart -token "$(bin/arcd dev token --unmask -o plain)" "Hello"
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8001/arc", "endpoint")
	token := flag.String("token", "", "access token")
	agent := flag.String("agent", "echo", "the agent that gets the task")
	flag.Parse()
	c := &client.Client{URL: *url, Token: client.StaticToken(*token), Agent: "quickstart"}
	if err := run(context.Background(), c, *agent, strings.Join(flag.Args(), " ")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, c *client.Client, agent, text string) error {
	message := arc.Text(arc.RoleUser, text)
	task, err := c.CreateTask(ctx, agent, arc.CreateTaskParams{InitialMessage: &message})
	if err != nil {
		return err
	}
	fmt.Println("created", task.ID)

	// The events come from the task's log, so none is missed, however long it
	// took to ask for them.
	for event, err := range c.TaskEvents(ctx, agent, arc.TaskEventsParams{TaskID: task.ID}) {
		if err != nil {
			return err
		}
		var e arc.TaskEvent
		if event.Name == "stream" && event.Decode(&e) == nil {
			fmt.Println(e.At, e.Type)
		}
	}

	task, err = c.GetTask(ctx, agent, arc.GetTaskParams{TaskID: task.ID})
	if err != nil {
		return err
	}
	fmt.Println("ended", task.Status)
	for _, a := range task.Artifacts {
		fmt.Printf("%s: %s\n", a.Name, a.Parts[0].Text())
	}
	return nil
}
