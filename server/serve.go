package server

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers on l until ctx ends, then drains and gives nil. It closes l.
//
// First /readyz turns to 503, and answers ask for their connection to be closed; for
// DrainDelay all else goes on as before, so that whoever spreads the calls can turn to
// other servers without one being refused.
//
// Then it drains: the service takes no new work and ends its streams, sockets are
// closed with 1001, running calls get DrainTimeout to finish, their answers
// closingTime to leave, and what is left then is cut.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	web := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10, // room for a 16 KiB token
		ErrorLog:          log.New(s.log.With().Str("event", "http").Logger(), "", 0),
		// Bodies, answers and events have deadlines of their own, since a
		// deadline for the whole exchange would end streams.
	}
	failed := make(chan error, 1)
	var serving sync.WaitGroup
	serving.Go(func() {
		if s.cfg.TLS != nil {
			web.TLSConfig = s.cfg.TLS.Clone()
			failed <- web.ServeTLS(l, "", "")
			return
		}
		failed <- web.Serve(l)
	})
	defer serving.Wait()
	defer s.guard.close()
	select {
	case err := <-failed:
		s.closeSockets()
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	if err := s.leave(failed); err != nil {
		s.closeSockets()
		return fmt.Errorf("serving: %w", err)
	}
	s.drain(context.WithoutCancel(ctx), web)
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// leave goes on serving for DrainDelay, or until that fails.
func (s *Server) leave(failed <-chan error) error {
	s.leaving.Store(true)
	close(s.moving)
	if s.cfg.DrainDelay <= 0 {
		return nil
	}
	s.log.Info().Str("event", "leaving").Dur("drain_delay_ms", s.cfg.DrainDelay).Msg("not ready any more; calls are still taken")
	timer := time.NewTimer(s.cfg.DrainDelay)
	defer timer.Stop()
	select {
	case err := <-failed:
		return err
	case <-timer.C:
		return nil
	}
}

// closingTime is how long the last answers may take when nothing runs any more.
const closingTime = 2 * time.Second

// drain ends everything that runs, within DrainTimeout. Until then the pages
// and the calls that only read go on being answered.
func (s *Server) drain(ctx context.Context, web *http.Server) {
	s.socketMu.Lock()
	s.draining.Store(true)
	s.socketMu.Unlock()
	s.log.Info().Str("event", "draining").Msg("no new work is taken")
	running, cancel := context.WithTimeout(ctx, s.cfg.DrainTimeout)
	defer cancel()
	s.service.Drain(running)
	s.closeSockets()
	ctx, cancel = context.WithTimeout(ctx, closingTime)
	defer cancel()
	if err := web.Shutdown(ctx); err != nil {
		s.log.Warn().Str("event", "drain_timeout").Err(err).Msg("open connections are cut")
		_ = web.Close() // the listeners are closed; nothing is left to report
	}
	s.socketWork.Wait()
}
