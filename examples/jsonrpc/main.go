// Command jsonrpc calls an arcd server with plain net/http and a JSON-RPC 2.0
// body: no library of ours is needed. It creates a task and reads it back.
//
//	go run ./examples/jsonrpc -url http://127.0.0.1:8001/arc -token "$(bin/arcd dev token --unmask -o plain)"
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8001/arc", "endpoint")
	token := flag.String("token", "", "access token")
	flag.Parse()

	message := map[string]any{"role": "user", "parts": []any{map[string]any{"type": "TextPart", "content": "Hello"}}}
	created, err := call(*url, *token, "task.create", map[string]any{"targetAgent": "echo", "initialMessage": message})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("created", created.Task.ID, created.Task.Status)

	read, err := call(*url, *token, "task.info", map[string]any{"taskId": created.Task.ID})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("read", read.Task.ID, read.Task.Status)
}

// result is what the two methods answer, as far as we look.
type result struct {
	Task struct {
		ID     string `json:"taskId"`
		Status string `json:"status"`
	} `json:"task"`
}

// call makes one call. In this envelope, targetAgent may stand inside params.
func call(url, token, method string, params any) (result, error) {
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		return result{}, err
	}
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return result{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return result{}, err
	}
	defer res.Body.Close()

	var answer struct {
		Result result `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return result{}, fmt.Errorf("%s: reading the answer: %w", res.Status, err)
	}
	if answer.Error != nil {
		return result{}, fmt.Errorf("%s: %s (%d)", res.Status, answer.Error.Message, answer.Error.Code)
	}
	return answer.Result, nil
}
