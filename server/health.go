package server

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ErrStore is for [Config].Ready: it is the store that fails, and not what tokens are
// judged by.
var ErrStore = errors.New("the store does not answer")

// health says that the server is there, in the shape of the published SDK.
func (s *Server) health(w *response, r *http.Request) {
	s.page(w, r, http.StatusOK, "no-store", struct {
		Status  string `json:"status"`
		Server  string `json:"server"`
		Agents  int    `json:"agents"`
		Version string `json:"version"`
	}{"ok", s.cfg.ServerID, s.service.CountAgents(), s.cfg.Version})
}

// state is the body of the two probes.
type state struct {
	Status string `json:"status"`           // "ok" or "unavailable"
	Reason string `json:"reason,omitempty"` // "draining", "auth" or "store"
}

// live says that the process answers: whoever restarts it need not.
func (s *Server) live(w *response, r *http.Request) {
	s.page(w, r, http.StatusOK, "no-store", state{Status: "ok"})
}

// ready says whether calls should come here: 503 while draining, and as long
// as keys or store are missing. Why in detail is for the log only.
func (s *Server) ready(w *response, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if reason, err := s.unreadiness(ctx); reason != "" {
		s.unready(w, r, reason, err)
		return
	}
	s.page(w, r, http.StatusOK, "no-store", state{Status: "ok"})
}

// unreadiness says in one word why calls should not come here; "": they may.
func (s *Server) unreadiness(ctx context.Context) (reason string, err error) {
	if s.leaving.Load() || s.draining.Load() {
		return "draining", nil
	}
	if s.cfg.Ready != nil {
		err := s.cfg.Ready(ctx)
		switch {
		case errors.Is(err, ErrStore):
			return "store", err
		case err != nil:
			return "auth", err
		}
	}
	if err := s.service.Ready(ctx); err != nil {
		return "store", err
	}
	return "", nil
}

// unready logs why, and answers with the one word.
func (s *Server) unready(w *response, r *http.Request, reason string, err error) {
	s.log.Warn().Str("event", "unready").Str("request_id", w.requestID).Str("reason", reason).Err(err).Send()
	s.page(w, r, http.StatusServiceUnavailable, "no-store", state{Status: "unavailable", Reason: reason})
}
