package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// step is one use of a method of the client.
type step struct {
	method string
	do     func(ctx context.Context) error
}

// covered are the methods of Client that the steps have; what is missing fails.
func covered(t *testing.T, steps []step, elsewhere ...string) {
	t.Helper()
	used := map[string]bool{}
	for _, s := range steps {
		used[s.method] = true
	}
	for m := range reflect.TypeFor[*client.Client]().Methods() {
		if !used[m.Name] && !slices.Contains(elsewhere, m.Name) {
			t.Errorf("no step uses Client.%s", m.Name)
		}
	}
}

// want reports what is not as it should be.
func want[T any](what string, got T, err error, good bool) error {
	if err != nil {
		return err
	}
	if !good {
		return fmt.Errorf("%s is %+v", what, got)
	}
	return nil
}

// drain reads a stream of a chat or task: its texts, and how many events it had.
func drain(events iter.Seq2[client.Event, error]) (said string, n int, err error) {
	for ev, err := range events {
		if err != nil {
			return said, n, err
		}
		n++
		if ev.Name == "stream" {
			var part arc.ChatChunk
			_ = ev.Decode(&part) // a task's events have no message
			said += part.Message.Text()
		}
	}
	return said, n, nil
}

// TestEveryMethodOfTheServer uses every method of Client against the real server.
func TestEveryMethodOfTheServer(t *testing.T) {
	w := start(t, nil)
	c := w.service()
	steps := slices.Concat(arcSteps(c), hookSteps(w, c), pageSteps(c), registrySteps(t, w), adminSteps(w))
	for _, s := range steps {
		if err := s.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", s.method, err)
		}
	}
	covered(t, steps, "CloseIdleConnections")
	if n := w.grants.Load(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1 for all calls", n)
	}
}

// arcSteps are the calls of the ARC endpoint.
func arcSteps(c *client.Client) []step {
	var task *arc.Task
	var chat *arc.Chat
	wait := client.WaitTaskParams{Input: true}
	return []step{
		{"Call", func(ctx context.Context) error {
			var list arc.TaskList
			err := c.Call(ctx, "task.list", "echo", arc.ListTasksParams{}, &list)
			return want("the list", list, err, len(list.Tasks) == 0)
		}},
		{"CreateTask", func(ctx context.Context) (err error) {
			task, err = c.CreateTask(ctx, "input", arc.CreateTaskParams{InitialMessage: text("hi")})
			return err
		}},
		{"WaitTask", func(ctx context.Context) error {
			wait.TaskID = task.ID
			got, err := c.WaitTask(ctx, "input", wait)
			return want("the task", got, err, err == nil && got.Status == arc.TaskInputRequired && len(got.Messages) > 0)
		}},
		{"SendTask", func(ctx context.Context) error {
			return c.SendTask(ctx, "input", arc.SendTaskParams{TaskID: task.ID, Message: text("42")})
		}},
		{"TaskEvents", func(ctx context.Context) error {
			_, n, err := drain(c.TaskEvents(ctx, "input", arc.TaskEventsParams{TaskID: task.ID}))
			return want("the number of events", n, err, n > 5)
		}},
		{"Stream", func(ctx context.Context) error {
			var order []int64
			for ev, err := range c.Stream(ctx, "task.events", "input", arc.TaskEventsParams{TaskID: task.ID}, 2) {
				if err != nil {
					return err
				}
				order = append(order, ev.Seq)
			}
			return want("the events", order, nil, len(order) > 3 && order[0] == 3)
		}},
		{"Relay", func(ctx context.Context) error {
			var pieces int
			r := client.Relayed{Method: "chat.start", To: "stream", Params: arc.StartChatParams{InitialMessage: text("3"), Stream: true}, Stream: true}
			r.Event = func(ev client.Event) error {
				if ev.Name == "stream" {
					pieces++
				}
				return nil
			}
			result, err := c.Relay(ctx, r)
			return want("the number of pieces", pieces, err, pieces == 3 && result == nil)
		}},
		{"CallHeader", func(ctx context.Context) error {
			p := arc.CreateTaskParams{InitialMessage: text("hi"), IdempotencyKey: "header"}
			for _, replayed := range []string{"", "true"} {
				header, err := c.CallHeader(ctx, "task.create", "echo", p, nil)
				if err := want("the header", header, err, header.Get(client.ReplayedHeader) == replayed); err != nil {
					return err
				}
			}
			return nil
		}},
		{"GetTask", func(ctx context.Context) error {
			got, err := c.GetTask(ctx, "input", arc.GetTaskParams{TaskID: task.ID})
			return want("the task", got, err, err == nil && got.Status == arc.TaskCompleted && len(got.Artifacts) == 1)
		}},
		{"ListTasks", func(ctx context.Context) error {
			list, err := c.ListTasks(ctx, "input", arc.ListTasksParams{Agent: "input", Status: []arc.TaskStatus{arc.TaskCompleted}})
			return want("the list", list, err, err == nil && len(list.Tasks) == 1)
		}},
		{"CancelTask", func(ctx context.Context) error {
			idle, err := c.CreateTask(ctx, "idle", arc.CreateTaskParams{InitialMessage: text("hi")})
			if err != nil {
				return err
			}
			got, err := c.CancelTask(ctx, "idle", arc.CancelTaskParams{TaskID: idle.ID})
			return want("the task", got, err, err == nil && got.Status == arc.TaskCanceled)
		}},
		{"StartChat", func(ctx context.Context) (err error) {
			chat, err = c.StartChat(ctx, "echo", arc.StartChatParams{InitialMessage: text("one")})
			return want("the chat", chat, err, err == nil && chat.Message.Text() == "one")
		}},
		{"SendChat", func(ctx context.Context) error {
			got, err := c.SendChat(ctx, "echo", arc.SendChatParams{ChatID: chat.ID, Message: text("two")})
			return want("the chat", got, err, err == nil && got.Message.Text() == "two")
		}},
		{"StreamMessage", func(ctx context.Context) error {
			said, n, err := drain(c.StreamMessage(ctx, "echo", arc.SendChatParams{ChatID: chat.ID, Message: text("three")}))
			return want("the answer", said, err, said == "three" && n == 2)
		}},
		{"ResumeChat", func(ctx context.Context) error {
			said, n, err := drain(c.ResumeChat(ctx, "echo", chat.ID, 0))
			return want("the answer", said, err, said == "three" && n == 2)
		}},
		{"EndChat", func(ctx context.Context) error {
			got, err := c.EndChat(ctx, "echo", arc.EndChatParams{ChatID: chat.ID})
			return want("the chat", got, err, err == nil && got.Status == arc.ChatClosed)
		}},
		{"StreamChat", func(ctx context.Context) error {
			said, n, err := drain(c.StreamChat(ctx, "stream", arc.StartChatParams{InitialMessage: text("3")}))
			return want("the answer", said, err, said == "piece 1 piece 2 piece 3 " && n == 4)
		}},
	}
}

// hookSteps are those of a task that is worked on by an agent elsewhere, and of who is
// told about it.
func hookSteps(w *world, c *client.Client) []step {
	var task *arc.Task
	var sub *arc.Subscription
	var sent *arc.Delivery
	agent := w.with(client.StaticToken(w.token(map[string]any{"agent_id": "idle"})))
	agent.Agent = "idle"
	return []step{
		{"SubscribeTask", func(ctx context.Context) (err error) {
			if task, err = c.CreateTask(ctx, "idle", arc.CreateTaskParams{InitialMessage: text("hi")}); err != nil {
				return err
			}
			p := arc.SubscribeTaskParams{TaskID: task.ID, CallbackURL: "http://hooks.example", Events: []arc.EventType{arc.TaskStartedEvent}}
			if _, err := c.SubscribeTask(ctx, "idle", p); !errors.Is(err, arc.ErrInvalid) {
				return fmt.Errorf("plain http: %v", err)
			}
			p.CallbackURL = "https://hooks.example"
			sub, err = c.SubscribeTask(ctx, "idle", p)
			return want("the subscription", sub, err, err == nil && sub.Active && len(sub.Secret) > 40)
		}},
		{"NotifyTask", func(ctx context.Context) error {
			p := arc.NotifyTaskParams{TaskID: task.ID, Event: arc.TaskStartedEvent, At: arc.At(time.Now()), Data: arc.EventData{Status: "WORKING", Message: "begun"}}
			if err := c.NotifyTask(ctx, "tester", p); !errors.Is(err, arc.ErrPermission) {
				return fmt.Errorf("who is not the agent: %v", err)
			}
			if err := agent.NotifyTask(ctx, "tester", p); err != nil {
				return err
			}
			got, err := c.GetTask(ctx, "idle", arc.GetTaskParams{TaskID: task.ID})
			return want("the task", got, err, err == nil && got.Status == arc.TaskWorking)
		}},
		{"ListDeliveries", func(ctx context.Context) error {
			for sent == nil { // the attempt is recorded a moment after it was made
				list, err := c.ListDeliveries(ctx, "idle", arc.ListDeliveriesParams{SubscriptionID: sub.ID})
				if err != nil {
					return err
				}
				if len(list.Deliveries) > 0 {
					sent = &list.Deliveries[0]
				}
			}
			return want("the delivery", sent, nil, sent.State == arc.DeliveryDelivered && sent.Event == arc.TaskStartedEvent && w.hooks.got.Load() == 1)
		}},
		{"ReplayDelivery", func(ctx context.Context) error {
			w.hooks.refuses.Store(true)
			got, err := c.ReplayDelivery(ctx, "idle", arc.ReplayDeliveryParams{DeliveryID: sent.ID})
			return want("the delivery", got, err, err == nil && got.Replay && got.State == arc.DeliveryDead && got.Status == 404 && got.MessageID == sent.MessageID)
		}},
		{"ListSubscriptions", func(ctx context.Context) error {
			list, err := c.ListSubscriptions(ctx, "idle", arc.ListSubscriptionsParams{TaskID: task.ID})
			return want("the list", list, err, err == nil && len(list.Subscriptions) == 1 && list.Subscriptions[0].Secret == "")
		}},
		{"UnsubscribeTask", func(ctx context.Context) error {
			got, err := c.UnsubscribeTask(ctx, "idle", arc.UnsubscribeTaskParams{SubscriptionID: sub.ID})
			return want("the subscription", got, err, err == nil && !got.Active && got.Reason == "unsubscribed")
		}},
		{"Relay", func(ctx context.Context) error {
			result, err := c.Relay(ctx, client.Relayed{Method: "task.info", To: "idle", Params: arc.GetTaskParams{TaskID: task.ID}})
			return want("the result", string(result), err, len(result) > 0)
		}},
	}
}

// pageSteps are the pages about the server.
func pageSteps(c *client.Client) []step {
	return []step{
		{"GetHealth", func(ctx context.Context) error {
			health, err := c.GetHealth(ctx)
			return want("health", health, err, err == nil && health.Status == "ok" && health.Version == "test")
		}},
		{"CheckReady", c.CheckReady},
		{"GetServerInfo", func(ctx context.Context) error {
			info, err := c.GetServerInfo(ctx)
			return want("the card", info, err, err == nil && info.Agents["echo"].Status == arc.AgentActive && info.Total == len(info.Agents))
		}},
		{"GetAgentCard", func(ctx context.Context) error {
			card, err := c.GetAgentCard(ctx, "echo")
			return want("the card", card, err, err == nil && card.ID == "echo" && slices.Contains(card.Methods, "task.create"))
		}},
		{"GetOpenRPC", func(ctx context.Context) error {
			document, err := c.GetOpenRPC(ctx, "echo")
			return want("the document", string(document), err, len(document) > 1000)
		}},
		{"Discover", func(ctx context.Context) error {
			_, err := c.Discover(ctx)
			return err
		}},
	}
}

func registration() arc.Registration {
	return arc.Registration{
		AgentID: agentID, Name: "Weather", AgentType: "automation", Endpoint: "https://weather.example",
		ContextBrief: "Forecasts storms and rain for a place", Capabilities: []string{"forecast"}, Owner: "Weather team",
		PublicKey: "0123456789abcdef0123456789abcdef", Metadata: map[string]any{"region": "north"},
		Version: "1.0.0", CommunicationMode: "remote",
	}
}

// registrySteps are those of an agent.
func registrySteps(t *testing.T, w *world) []step {
	c := &client.Client{URL: w.url} // nobody, then the agent
	var temp *arc.TempToken
	var outcome *arc.Compliance
	own := func(r *arc.Registered) { c = w.with(client.StaticToken(r.AccessToken)) }
	return []step{
		{"RequestTempToken", func(ctx context.Context) (err error) {
			temp, err = c.RequestTempToken(ctx, arc.TempTokenParams{AgentID: agentID, AgentType: "automation", AgentKey: agentKey})
			return err
		}},
		{"ValidateCompliance", func(ctx context.Context) (err error) {
			outcome, err = c.ValidateCompliance(ctx, client.Registering{Token: temp.TempToken}, arc.ComplianceParams{
				AgentID: agentID, AgentType: "automation", Endpoint: "https://weather.example", Capabilities: []string{"forecast"},
			})
			return want("the outcome", outcome, err, err == nil && outcome.ValidatedToken != nil)
		}},
		{"GetValidation", func(ctx context.Context) error {
			got, err := w.with(client.StaticToken(temp.TempToken)).GetValidation(ctx, outcome.ValidationID)
			return want("the outcome", got, err, err == nil && got.Status == "passed" && got.ValidatedToken == nil)
		}},
		{"RegisterAgent", func(ctx context.Context) error {
			with := client.Registering{Token: *outcome.ValidatedToken, IdempotencyKey: "start-1"}
			registered, err := c.RegisterAgent(ctx, with, registration())
			if err == nil {
				own(registered)
			}
			return err
		}},
		{"Beat", func(ctx context.Context) error {
			beat, err := c.Beat(ctx, agentID)
			return want("the heartbeat", beat, err, err == nil && beat.AgentID == agentID)
		}},
		{"UpdateAgentMetrics", func(ctx context.Context) error {
			got, err := c.UpdateAgentMetrics(ctx, agentID, map[string]any{"success_rate": 0.5})
			return want("the metrics", got, err, err == nil && got.Metrics.SuccessRate == 0.5)
		}},
		{"ReportAgentMetrics", func(ctx context.Context) error {
			got, err := c.ReportAgentMetrics(ctx, agentID, 250*time.Millisecond, true)
			return want("the metrics", got, err, err == nil && got.Current.TotalRequests == 1)
		}},
		{"GetAgentMetrics", func(ctx context.Context) error {
			got, err := c.GetAgentMetrics(ctx, agentID)
			return want("the metrics", got, err, err == nil && got.TotalRequests == 1)
		}},
		{"GetAgent", func(ctx context.Context) error {
			got, err := c.GetAgent(ctx, agentID)
			if diff := cmp.Diff(registration().Metadata, got.Metadata); err == nil && diff != "" {
				t.Error(diff)
			}
			return want("the agent", got, err, err == nil && got.Status == arc.AgentAlive && !got.LastSeen.IsZero())
		}},
		{"ListAgents", func(ctx context.Context) error {
			got, err := c.ListAgents(ctx, client.AgentFilter{Type: "automation", Capabilities: []string{"forecast"}, Metrics: true})
			return want("the list", got, err, err == nil && len(got.Agents) == 1 && got.Agents[0].Metrics != nil && got.Next == "")
		}},
		{"SearchAgents", func(ctx context.Context) error {
			hits, err := c.SearchAgents(ctx, arc.SearchParams{Query: "storm forecasts"})
			return want("the hits", hits, err, len(hits) == 1 && hits[0].ID == agentID)
		}},
		{"Enroll", func(ctx context.Context) error {
			radar := registration()
			radar.AgentID, radar.Capabilities = "radar-1", []string{"radar"}
			_, err := c.Enroll(ctx, client.EnrollParams{Key: "key-of-radar-1", Registration: radar})
			return err
		}},
		{"Agents", func(ctx context.Context) error {
			var ids []string
			for agent, err := range c.Agents(ctx, client.AgentFilter{Limit: 1}) {
				if err != nil {
					return err
				}
				ids = append(ids, agent.AgentID)
			}
			return want("the ids", ids, nil, slices.Equal(ids, []string{"radar-1", agentID}))
		}},
		{"NotifyAgent", func(ctx context.Context) error {
			got, err := c.NotifyAgent(ctx, "radar-1", arc.NotifyParams{AgentID: agentID, AgentEndpoint: "https://weather.example"})
			return want("the answer", got, err, err == nil && got.Status == "notified" && w.told.Load() == 1)
		}},
		{"DiscoverAgents", func(ctx context.Context) error {
			n := 0
			for _, err := range c.DiscoverAgents(ctx, client.AgentFilter{Limit: 1}) {
				if err != nil {
					return err
				}
				n++
			}
			return want("the number of agents", n, nil, n == 2)
		}},
		{"SearchPublicAgents", func(ctx context.Context) error {
			hits, err := c.SearchPublicAgents(ctx, arc.SearchParams{Query: "radar"})
			return want("the hits", hits, err, len(hits) == 1 && hits[0].ID == "radar-1")
		}},
		{"GetPublicAgent", func(ctx context.Context) error {
			got, err := c.GetPublicAgent(ctx, agentID)
			return want("the card", got, err, err == nil && got.Name == "Weather")
		}},
		{"ConnectAgent", func(ctx context.Context) error {
			got, err := c.ConnectAgent(ctx, agentID, arc.ConnectParams{UserID: "bob", UserEndpoint: "https://bob.example"})
			return want("the answer", got, err, err == nil && got.Status == "connection_requested" && w.told.Load() == 2)
		}},
		{"GetPublicStats", func(ctx context.Context) error {
			got, err := c.GetPublicStats(ctx)
			return want("the counts", got, err, err == nil && got.Alive == 2)
		}},
		{"GetPublicInfo", func(ctx context.Context) error {
			got, err := c.GetPublicInfo(ctx)
			return want("the page", got, err, err == nil && got.Version == "test" && got.Limits["discover_limit"] == 100)
		}},
		{"ListAgentTypes", func(ctx context.Context) error {
			_, err := c.ListAgentTypes(ctx)
			return err
		}},
		{"RenewToken", func(ctx context.Context) error {
			grant, err := c.RenewToken(ctx)
			if err != nil {
				return err
			}
			_, err = c.Beat(ctx, agentID)
			if !errors.Is(err, arc.ErrAuthentication) || errors.Is(err, arc.ErrExpired) {
				return fmt.Errorf("the old token still counts, or is called expired: %v", err)
			}
			c = w.with(client.StaticToken(grant.AccessToken))
			return nil
		}},
		{"ValidateToken", func(ctx context.Context) error {
			token, err := c.Token.Token(ctx, "")
			if err != nil {
				return err
			}
			verdict, err := c.ValidateToken(ctx, token)
			return want("the verdict", verdict, err, err == nil && verdict.Valid && verdict.AgentID == agentID)
		}},
		{"UnregisterAgent", func(ctx context.Context) error {
			got, err := c.UnregisterAgent(ctx, agentID)
			return want("the answer", got, err, err == nil && got.Status == "success")
		}},
	}
}

// adminSteps are those of an administrator.
func adminSteps(w *world) []step {
	var admin *client.Client
	return []step{
		{"Login", func(context.Context) error {
			admin = w.admin()
			return nil
		}},
		{"GetSession", func(ctx context.Context) error {
			got, err := admin.GetSession(ctx)
			return want("the session", got, err, err == nil && got.Valid && got.IsAdmin)
		}},
		{"GetAgentStats", func(ctx context.Context) error {
			got, err := admin.GetAgentStats(ctx)
			return want("the counts", got, err, err == nil && got.Total == 1)
		}},
		{"MintToken", func(ctx context.Context) error {
			_, err := admin.MintToken(ctx, arc.MintParams{UserID: "bob", AgentID: "bobs-agent", Scopes: []string{"arc.agent.caller"}})
			return err
		}},
		{"RevokeToken", func(ctx context.Context) error {
			got, err := admin.RevokeToken(ctx, arc.RevokeParams{Subject: "user:bob"})
			return want("the answer", got, err, err == nil && got.Status == "success")
		}},
		{"ListAudit", func(ctx context.Context) error {
			got, err := admin.ListAudit(ctx, client.AuditFilter{Event: "login", Limit: 1, From: time.Now().Add(-time.Hour)})
			return want("the log", got, err, err == nil && len(got.Entries) == 1 && got.Entries[0].Event == "login")
		}},
		{"Audit", func(ctx context.Context) error {
			before := int64(1 << 62)
			n := 0
			for entry, err := range admin.Audit(ctx, client.AuditFilter{Limit: 2}) {
				if err != nil {
					return err
				}
				if entry.ID >= before {
					return fmt.Errorf("line %d follows line %d", entry.ID, before)
				}
				before = entry.ID
				n++
			}
			return want("the number of lines", n, nil, n > 8)
		}},
		{"Logout", func(ctx context.Context) error {
			if err := admin.Logout(ctx); err != nil {
				return err
			}
			if _, err := admin.GetSession(ctx); !errors.Is(err, arc.ErrAuthentication) {
				return fmt.Errorf("after the logout: %v", err)
			}
			return nil
		}},
	}
}
