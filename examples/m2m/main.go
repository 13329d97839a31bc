// Command m2m calls as a machine: it gets a token with its client credentials
// (RFC 6749, 4.4) and creates a task. When the token expires it gets another.
//
//	arcd client add robot --scope arc.task.controller,arc.agent.caller
//	go run ./examples/m2m -id robot -secret …
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func main() {
	server := flag.String("server", "http://127.0.0.1:8001", "server")
	id := flag.String("id", "", "client id")
	secret := flag.String("secret", "", "client secret")
	flag.Parse()
	ctx := context.Background()

	c := &client.Client{URL: *server + "/arc", Agent: *id}
	task, err := create(ctx, c)
	if e, ok := errors.AsType[*arc.Error](err); ok && (e.Code == arc.CodeUnauthenticated || e.Code == arc.CodeTokenExpired) {
		if c.Token, err = token(ctx, *server+"/oauth/token", *id, *secret); err != nil {
			log.Fatal(err)
		}
		task, err = create(ctx, c)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("created", task.ID, task.Status)
}

// create creates a task. The key makes it safe to call twice.
func create(ctx context.Context, c *client.Client) (*arc.Task, error) {
	message := arc.Text(arc.RoleUser, "from a machine")
	return c.CreateTask(ctx, "echo", arc.CreateTaskParams{InitialMessage: &message, IdempotencyKey: "m2m-example-1"})
}

// token gets an access token from the token service.
func token(ctx context.Context, endpoint, id, secret string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var grant struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(res.Body).Decode(&grant); err != nil {
		return "", err
	}
	if grant.Error != "" {
		return "", fmt.Errorf("%s: %s", grant.Error, grant.Description)
	}
	return grant.AccessToken, nil
}
