package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// answer is what an answer's body may hold: either envelope, or a problem
// document, whose members stand at the top level.
type answer struct {
	ARC     string          `json:"arc"`
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   *failure        `json:"error"`

	Code    arc.Code       `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`

	Type      string `json:"type"`
	Detail    string `json:"detail"`
	ErrorCode string `json:"error_code"`
}

// failure is an error object of either envelope.
type failure struct {
	Code    arc.Code       `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
	Data    map[string]any `json:"data"`
}

// What is wrong with an answer that is readable, but not the one asked for.
var (
	errForeign = errors.New("the answer is for another call")
	errEmpty   = errors.New("the answer has neither a result nor an error")
)

// result takes the result out of an answer's body, or its error.
func (c *Client) result(resp *http.Response, body []byte, id string) (json.RawMessage, error) {
	var a answer
	if err := jsonv2.Unmarshal(body, &a); err != nil {
		return nil, unreadable(resp, err)
	}
	switch {
	case a.Error != nil:
		return nil, a.Error.public(resp)
	case resp.StatusCode >= http.StatusMultipleChoices:
		if a.ErrorCode != "" {
			return nil, a.problem().public(resp)
		}
		if a.Code == 0 {
			return nil, unreadable(resp, errEmpty)
		}
		return nil, (&failure{Code: a.Code, Message: a.Message, Details: a.Details}).public(resp)
	case c.JSONRPC && a.JSONRPC != "2.0", !c.JSONRPC && a.ARC != arc.Version:
		return nil, unreadable(resp, errors.New("the answer is in another envelope"))
	case string(a.ID) != id:
		return nil, errForeign
	case len(a.Result) == 0 || string(a.Result) == "null":
		return nil, errEmpty
	}
	return a.Result, nil
}

// problem reads the answer as the problem document of a page that is no ARC
// endpoint.
func (a *answer) problem() *failure {
	kind := arc.Problem(a.Type[strings.LastIndexByte(a.Type, '/')+1:])
	e := arc.Refuse(kind, strings.ToLower(a.ErrorCode), "%s", a.Detail)
	return &failure{Code: e.Code, Message: e.Message, Details: e.Details}
}

// public makes the error that the caller of a method gets.
func (f *failure) public(resp *http.Response) *arc.Error {
	e := &arc.Error{Code: f.Code, Message: f.Message, Details: f.Details}
	if e.Details == nil {
		e.Details = f.Data
	}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	return e
}

// unreadable reports an answer that no ARC server gave, as from a proxy.
func unreadable(resp *http.Response, cause error) error {
	return fmt.Errorf("HTTP status %d with a body that is no answer: %w", resp.StatusCode, cause)
}
