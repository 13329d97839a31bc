package server

import (
	"context"
	"math"
	"net/http"
	"slices"

	"github.com/coder/websocket"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
)

// The sizes of a page of GET /public/ws (contract section 1.6).
const (
	publicPage    = 30
	maxPublicPage = 100
)

// publicSocket is GET /public/ws: what anybody may see of the living agents, page
// by page when asked, and after every change (contract section 1.6).
//
//	server  {"type":"welcome", …}
//	client  {"type":"get_discovery","page":1,"page_size":30,"agent_type":"…"}
//	server  {"type":"discovery_data","data":{"agents":[…],"pagination":{…},"filters":{…}}, …}
//	server  {"type":"agents_update","data":{"agents":[…],"total_count":n}, …}    at most one a second
//	server  {"type":"stats_update","data":{…}, …}                                every 30 s
//
// agents_update holds the first maxPublicPage agents, as far as they go into one
// frame; where total_count is more, the others are to be asked for.
func (s *Server) publicSocket(w *response, r *http.Request) {
	if s.cfg.Registry.Hidden() {
		s.problem(w, r, nothingHere())
		return
	}
	s.textSocket(w, r, s.publicPlaces, func(ctx context.Context, c *textSocket) (websocket.StatusCode, string) {
		if !c.send(ctx, s.welcome()) {
			return 0, ""
		}
		return c.feed(ctx, feed{list: s.publicRoster, stats: s.statsRoster, answer: s.answerPublic})
	})
}

// welcome is the first frame, in the words of the published server.
type welcome struct {
	notice     `json:",inline"`
	Features   []string          `json:"features"`
	Commands   map[string]string `json:"commands"`
	Pagination struct {
		Default int    `json:"default_page_size"`
		Most    int    `json:"max_page_size"`
		Usage   string `json:"usage"`
	} `json:"pagination"`
}

// welcome says what can be asked for.
func (s *Server) welcome() []byte {
	hello := welcome{
		notice: notice{
			Type: "welcome", Message: "Connected to the public WebSocket of the agent registry", Timestamp: s.timestamp(),
		},
		Features: []string{"agent_updates", "public_stats", "discovery_events", "paginated_discovery"},
		Commands: map[string]string{
			"ping":          "Send ping to check the connection",
			"get_discovery": "Get the agents, page by page",
		},
	}
	hello.Pagination.Default, hello.Pagination.Most = publicPage, maxPublicPage
	hello.Pagination.Usage = "Send {type: 'get_discovery', page: 1, page_size: 30, agent_type: 'optional'}"
	return s.textFrame(hello)
}

// discoveryParams are those of get_discovery. Numbers beyond the limits are taken
// for the limits.
type discoveryParams struct {
	Page      *float64 `json:"page"`
	PageSize  *float64 `json:"page_size"`
	AgentType *string  `json:"agent_type"` // exactly, in any case
}

// answerPublic gives the reply to a frame.
func (s *Server) answerPublic(frame []byte) []byte {
	if reply, ok := s.pong(frame); ok {
		return reply
	}
	if kind, _ := kindOf(frame); kind != "get_discovery" {
		return s.unknown(frame)
	}
	var p discoveryParams
	if err := jsonv2.Unmarshal(frame, &p); err != nil {
		return s.notice(notice{Type: "error", Message: "page and page_size must be numbers, agent_type a text"})
	}
	return s.discovery(&p)
}

// pagination says where in the list a page is.
type pagination struct {
	Page     int  `json:"current_page"`
	Size     int  `json:"page_size"`
	Agents   int  `json:"total_agents"`
	Pages    int  `json:"total_pages"`
	HasNext  bool `json:"has_next"`
	HasPrev  bool `json:"has_previous"`
	NextPage *int `json:"next_page"`
	PrevPage *int `json:"previous_page"`
}

// discovery gives one page of the living agents.
func (s *Server) discovery(p *discoveryParams) []byte {
	filter := registry.Filter{}
	if p.AgentType != nil {
		filter.Type = *p.AgentType
	}
	at := pagination{
		Page: within(p.Page, 1, math.MaxInt32), Size: within(p.PageSize, publicPage, maxPublicPage),
		Agents: s.cfg.Registry.CountPublic(filter),
	}
	at.Pages = (at.Agents + at.Size - 1) / at.Size
	if at.HasNext = at.Page < at.Pages; at.HasNext {
		at.NextPage = new(at.Page + 1)
	}
	if at.HasPrev = at.Page > 1; at.HasPrev {
		at.PrevPage = new(at.Page - 1)
	}
	agents := arc.AgentInfos{}
	if at.Page <= at.Pages {
		filter.Offset, filter.Limit = (at.Page-1)*at.Size, at.Size
		agents = s.cfg.Registry.PublicList(filter)
	}
	type filters struct {
		AgentType *string `json:"agent_type"`
	}
	return s.notice(notice{Type: "discovery_data", Data: struct {
		Agents     arc.AgentInfos `json:"agents"`
		Pagination pagination     `json:"pagination"`
		Filters    filters        `json:"filters"`
	}{agents, at, filters{p.AgentType}}})
}

// within gives a number of a frame as a count from 1 to most; absent: usual.
func within(n *float64, usual, most int) int {
	if n == nil {
		return usual
	}
	return int(min(max(*n, 1), float64(most)))
}

// publicListFrames is the frame that follows a change.
func (s *Server) publicListFrames() [][]byte {
	agents, _, err := fitting(s.cfg.Registry.PublicList(registry.Filter{Limit: maxPublicPage}))
	if err != nil {
		s.log.Error().Str("event", "internal").Err(err).Msg("the list of agents does not encode")
		return nil
	}
	return [][]byte{s.notice(notice{Type: "agents_update", Data: struct {
		Agents arc.AgentInfos `json:"agents"`
		Total  int            `json:"total_count"`
	}{agents, s.cfg.Registry.CountPublic(registry.Filter{})}})}
}

// publicStatsFrames is the frame with the numbers.
func (s *Server) publicStatsFrames() [][]byte {
	stats, types := s.cfg.Registry.Stats(), []string{}
	for name := range stats.Types {
		types = append(types, name)
	}
	slices.Sort(types)
	return [][]byte{s.notice(notice{Type: "stats_update", Data: struct {
		Total  int      `json:"total_agents"`
		Alive  int      `json:"alive_agents"`
		Dead   int      `json:"dead_agents"`
		Types  int      `json:"agent_types_count"`
		Names  []string `json:"available_types"`
		Status string   `json:"system_status"`
	}{stats.Total, stats.Alive, stats.Dead, len(types), types, "operational"}})}
}
