package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// Machine to machine: the client gets its tokens by itself, and another one when
// the server says that one has expired. Give an agent a task and wait for what
// comes of it.
func Example() {
	url, stop := serveExample() // an arcd with its demo agents
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	c := &client.Client{
		URL:   url,
		Token: &client.ClientCredentials{TokenURL: url + "/oauth/token", ClientID: "ci", ClientSecret: "s3cret"},
	}
	message := arc.Text(arc.RoleUser, "Quarterly figures, please")
	task, err := c.CreateTask(ctx, "echo", arc.CreateTaskParams{
		InitialMessage: &message,
		IdempotencyKey: "report-2026-q3", // so that a lost answer may be asked for again
	})
	if err != nil {
		log.Fatal(err)
	}
	task, err = c.WaitTask(ctx, "echo", client.WaitTaskParams{TaskID: task.ID})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(task.Status, task.Artifacts[0].Parts[0].Text())
	// Output: COMPLETED Quarterly figures, please
}

// A chat's answer, piece by piece. Connections that break on the way are made
// anew, and no piece is lost or comes twice.
func ExampleClient_StreamChat() {
	url, stop := serveExample()
	defer stop()
	c := exampleClient(url)

	message := arc.Text(arc.RoleUser, "3") // the agent answers in so many pieces
	for event, err := range c.StreamChat(context.Background(), "stream", arc.StartChatParams{InitialMessage: &message}) {
		if err != nil {
			log.Fatal(err)
		}
		switch event.Name {
		case "stream":
			var piece arc.ChatChunk
			if err := event.Decode(&piece); err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%q\n", piece.Message.Text())
		case "done":
			fmt.Println("done")
		}
	}
	// Output:
	// "piece 1 "
	// "piece 2 "
	// "piece 3 "
	// done
}

// What a task does, as it happens. Who stores the number of the last event can go
// on behind it, in another process too.
func ExampleClient_TaskEvents() {
	url, stop := serveExample()
	defer stop()
	c := exampleClient(url)
	ctx := context.Background()

	message := arc.Text(arc.RoleUser, "hello")
	task, err := c.CreateTask(ctx, "echo", arc.CreateTaskParams{InitialMessage: &message})
	if err != nil {
		log.Fatal(err)
	}
	var last int64
	for event, err := range c.TaskEvents(ctx, "echo", arc.TaskEventsParams{TaskID: task.ID}) {
		if err != nil {
			log.Fatal(err)
		}
		last = event.Seq
		break // something else is to be done first
	}
	for event, err := range c.TaskEvents(ctx, "echo", arc.TaskEventsParams{TaskID: task.ID, After: last}) {
		if err != nil {
			log.Fatal(err)
		}
		var happened arc.TaskEvent
		if event.Name == "stream" && event.Decode(&happened) == nil && happened.Type == arc.NewArtifactEvent {
			fmt.Println("an artifact is there")
		}
	}
	// Output: an artifact is there
}

// An identity provider that takes the parameters as JSON and wants an audience,
// as Auth0 does.
func ExampleClientCredentials() {
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"abc","token_type":"Bearer","expires_in":3600}`)
	}))
	defer provider.Close()

	source := &client.ClientCredentials{
		TokenURL: provider.URL + "/oauth/token", ClientID: "id", ClientSecret: "secret",
		Audience: "https://your-api.com", JSON: true,
	}
	token, err := source.Token(context.Background(), "") // a Client asks by itself
	fmt.Println(token, err)
	// Output: abc <nil>
}

// What to do about an error is in its class. Its code and details tell more.
func Example_errors() {
	url, stop := serveExample()
	defer stop()
	c := exampleClient(url)

	_, err := c.GetTask(context.Background(), "echo", arc.GetTaskParams{TaskID: "task-of-yesterday"})
	switch {
	case errors.Is(err, arc.ErrExpired):
		fmt.Println("log in again, then repeat the call")
	case errors.Is(err, arc.ErrPermission):
		fmt.Println("ask somebody for the permission")
	case errors.Is(err, arc.ErrUnavailable), errors.Is(err, arc.ErrRateLimited):
		fmt.Println("try again later")
	case errors.Is(err, arc.ErrNotFound):
		fmt.Println("there is no such task")
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		fmt.Println(e.Code, e.Reason())
	}
	// Output:
	// there is no such task
	// -42001 task_not_found
}

// A conversation that survives the loss of its chat: the next message starts a new
// one.
func ExampleThread() {
	url, stop := serveExample()
	defer stop()
	c := exampleClient(url)
	ctx := context.Background()

	lost := 0
	thread := &client.Thread{Client: c, To: "echo", Lost: func(string) { lost++ }}
	for _, said := range []string{"good morning", "good evening"} {
		chat, err := thread.Say(ctx, arc.Text(arc.RoleUser, said))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(chat.Message.Text())
		// Somebody else ends the chat, or the server does so after a while.
		if _, err := c.EndChat(ctx, "echo", arc.EndChatParams{ChatID: chat.ID}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("lost:", lost)
	// Output:
	// good morning
	// good evening
	// lost: 1
}

// An agent registers itself with the key that the operator gave it, and says that
// it is alive.
func ExampleClient_Enroll() {
	url, stop := serveExample()
	defer stop()
	ctx := context.Background()

	registered, err := (&client.Client{URL: url}).Enroll(ctx, client.EnrollParams{
		Key: "s3cret",
		Registration: arc.Registration{
			AgentID: "weather-1", Name: "Weather", AgentType: "automation", Endpoint: "https://weather.example",
			ContextBrief: "Forecasts storms and rain for a place", Capabilities: []string{"forecast"}, Owner: "Weather team",
			PublicKey: "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
			Metadata:  map[string]any{"region": "north"}, Version: "1.0.0", CommunicationMode: "remote",
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	c := &client.Client{URL: url, Token: client.StaticToken(registered.AccessToken)}
	beat, err := c.Beat(ctx, registered.AgentID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(beat.AgentID, "is heard of")
	for agent, err := range c.Agents(ctx, client.AgentFilter{Capabilities: []string{"forecast"}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(agent.Name, agent.Status)
	}
	// Output:
	// weather-1 is heard of
	// Weather alive
}

// exampleClient gives a client of the example's server.
func exampleClient(url string) *client.Client {
	return &client.Client{
		URL:   url,
		Token: &client.ClientCredentials{TokenURL: url + "/oauth/token", ClientID: "ci", ClientSecret: "s3cret"},
	}
}
