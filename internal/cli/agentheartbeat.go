package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// agentHeartbeat is "arcd agent heartbeat".
type agentHeartbeat struct {
	changing
	ID    identifier    `arg:"" help:"The agent."`
	Every time.Duration `placeholder:"TIME" help:"Go on, once in this time, until a signal. It is no failure to be stopped then."`
}

// beatsData is the result of "agent heartbeat".
type beatsData struct {
	Effect   string  `json:"effect"` // updated, would_update
	AgentID  string  `json:"agent_id"`
	Beats    int     `json:"beats"`     // that the server took
	Missed   int     `json:"missed"`    // that it did not, with --every
	LastSeen *string `json:"last_seen"` // by the server's clock; null: no beat was taken
}

// row says of the loop that it has no end of its own: neither a credential nor a
// server gives it a timeout then.
func (h *agentHeartbeat) row() row {
	return row{
		danger: mutating, auth: h.Every == 0, data: beatsData{}, exits: callExits,
		long: "It takes the agent's own token. With --every it goes on through failures that may pass (server away, too many calls), and ends with any other; " +
			"a token that runs out is exit code 10.",
		examples: []string{"arcd agent heartbeat weather-1 --token file:weather.token", "arcd agent heartbeat weather-1 --token file:weather.token --every 20s"},
	}
}

func (h *agentHeartbeat) check(p *problems) {
	if h.Every < 0 || h.Every > 0 && h.Every < time.Second {
		p.add("--every", "must be 1s or more")
	}
}

func (h *agentHeartbeat) run(ctx context.Context, c *console) (any, error) {
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	data := beatsData{Effect: "would_update", AgentID: string(h.ID)}
	if h.DryRun {
		return data, nil
	}
	data.Effect = "updated"
	if h.Every == 0 {
		if err := h.beat(ctx, server, &data); err != nil {
			return nil, c.agentError(err)
		}
		return data, nil
	}
	return h.loop(ctx, c, server, data)
}

// beat says once that the agent is alive.
func (h *agentHeartbeat) beat(ctx context.Context, server *client.Client, data *beatsData) error {
	answer, err := server.Beat(ctx, string(h.ID))
	if err != nil {
		return err
	}
	data.Beats++
	data.LastSeen = wireTime(answer.LastSeen)
	return nil
}

// loop beats until ctx ends. A signal is how it is meant to end.
func (h *agentHeartbeat) loop(ctx context.Context, c *console, server *client.Client, data beatsData) (any, error) {
	tick := time.NewTicker(h.Every)
	defer tick.Stop()
	for {
		err := h.once(ctx, server, &data)
		if ctx.Err() == nil && err != nil {
			e := c.agentError(err)
			if !passing(e) {
				return data, e
			}
			data.Missed++
			c.note("%s: %s", e.Code, outcome.Clean(e.Message))
		}
		select {
		case <-ctx.Done():
			cause := context.Cause(ctx)
			if _, bySignal := errors.AsType[signaled](cause); bySignal {
				return data, nil
			}
			return data, fmt.Errorf("beating: %w", cause)
		case <-tick.C:
		}
	}
}

// once is a beat that takes no longer than the time between two.
func (h *agentHeartbeat) once(ctx context.Context, server *client.Client, data *beatsData) error {
	ctx, cancel := context.WithTimeout(ctx, h.Every)
	defer cancel()
	return h.beat(ctx, server, data)
}

// passing tells whether the next beat may do better.
func passing(e *outcome.Error) bool {
	switch e.Exit {
	case outcome.ExitTimeout, outcome.ExitRateLimited, outcome.ExitUnavailable:
		return true
	}
	return e.Code == outcome.ServerError
}

func (d beatsData) show(p *page) {
	p.line("%s: %d beats, last seen %s", d.AgentID, d.Beats, textOr(d.LastSeen, "never"))
}
