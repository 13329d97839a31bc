// Command chatstream talks to the demo agent stream and prints its answer as it
// comes.
//
//	go run ./examples/chatstream -token "$(bin/arcd dev token --unmask -o plain)" 30
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
	flag.Parse()
	ctx := context.Background()
	c := &client.Client{URL: *url, Token: client.StaticToken(*token), Agent: "chatstream"}

	message := arc.Text(arc.RoleUser, strings.Join(flag.Args(), " "))
	var chatID string
	for event, err := range c.StreamChat(ctx, "stream", arc.StartChatParams{InitialMessage: &message}) {
		if err != nil {
			log.Fatal(err)
		}
		var chunk arc.ChatChunk
		if event.Name != "stream" {
			continue
		}
		if err := event.Decode(&chunk); err != nil {
			log.Fatal(err)
		}
		chatID = chunk.ChatID
		fmt.Print(chunk.Message.Text())
	}
	fmt.Println()

	if _, err := c.EndChat(ctx, "stream", arc.EndChatParams{ChatID: chatID, Reason: "done"}); err != nil {
		log.Fatal(err)
	}
}
