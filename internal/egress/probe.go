package egress

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Time limits of the calls to agents (contract, sections 3.7 and 1.4).
const (
	probeTimeout  = 3 * time.Second
	notifyTimeout = 10 * time.Second
)

// agentName is how arcd names itself to those it calls.
const agentName = "arcd"

// maxAgentID is the longest agent id (contract, section 4.1).
const maxAgentID = 100

// Result is what a probe found.
type Result struct {
	Reached bool          // an HTTP answer came
	Status  int           // its status; 0 if none came
	Latency time.Duration // from the call to the end of the answer, or of the attempt
	AgentID string        // who the answer says it is, at most 100 bytes; "" if it does not say
	// Err is nil if the endpoint is good: status 200, and no other agent's id. Else
	// [*Refused], [*Unreachable], [*BadStatus], [*OtherAgent], or the Err of the
	// context that ended. [Problem] makes an answer of it.
	Err error
}

// Probe asks an agent's endpoint for its health: GET <endpoint>/health, within
// three seconds. The answer must be 200 (contract, section 3.7, phase 2). A JSON
// object that names an agent (agent_id, else agentId) must name this one; any
// other body is fine.
func (c *Client) Probe(ctx context.Context, endpoint, agentID string) Result {
	start := time.Now()
	r := c.probe(ctx, endpoint, agentID)
	r.Latency = time.Since(start)
	return r
}

func (c *Client) probe(ctx context.Context, endpoint, agentID string) Result {
	u, err := Parse(endpoint)
	if err != nil {
		return Result{Err: err}
	}
	u = u.JoinPath("health")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Result{Err: fmt.Errorf("making a request: %w", err)}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", agentName)
	answer, err := c.do(req, probeTimeout)
	if err != nil {
		return Result{Err: err}
	}
	id := saysItIs(answer.Body)
	r := Result{Reached: true, Status: answer.Status, AgentID: strings.ToValidUTF8(id[:min(len(id), maxAgentID)], "")}
	switch {
	case answer.Status != http.StatusOK:
		r.Err = &BadStatus{Host: u.Host, Status: answer.Status}
	case id != "" && id != agentID:
		r.Err = &OtherAgent{Host: u.Host, Want: agentID, Got: r.AgentID}
	}
	return r
}

// saysItIs gives the agent id in a body; "" if there is none. What stands there
// without being a text is given as its JSON text, which is no agent's id.
func saysItIs(body []byte) string {
	var named struct {
		AgentID jsontext.Value `json:"agent_id"`
		Camel   jsontext.Value `json:"agentId"`
	}
	if err := jsonv2.Unmarshal(body, &named); err != nil {
		return ""
	}
	for _, v := range []jsontext.Value{named.AgentID, named.Camel} {
		if len(v) == 0 || v.Kind() == 'n' {
			continue
		}
		id := string(v)
		if v.Kind() == '"' {
			if err := jsonv2.Unmarshal(v, &id); err != nil {
				return ""
			}
		}
		return id
	}
	return ""
}

// Notify posts body as JSON to a URL, within ten seconds (contract, section
// 1.4), and gives the status of the answer, 0 if none came. Any status but 2xx is
// also a [*BadStatus]; other errors are [*Refused], [*Unreachable], and that of ctx.
func (c *Client) Notify(ctx context.Context, url string, body any) (status int, err error) {
	u, err := Parse(url)
	if err != nil {
		return 0, err
	}
	content, err := jsonv2.Marshal(body)
	if err != nil {
		return 0, fmt.Errorf("encoding a notice: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(content))
	if err != nil {
		return 0, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", agentName)
	answer, err := c.do(req, notifyTimeout)
	if err != nil {
		return 0, err
	}
	if answer.Status/100 != 2 {
		return answer.Status, &BadStatus{Host: u.Host, Status: answer.Status}
	}
	return answer.Status, nil
}
