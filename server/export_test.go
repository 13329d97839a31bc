package server

import (
	"context"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
)

// Guard guards something that a good token holds open, and calls look whenever the
// token is looked at, until stop.
func Guard(look func()) (stop func()) {
	g := newGuard(socketCheck, time.Now)
	_, leave := g.enter(context.Background(), time.Time{}, func(context.Context) *arc.Error {
		look()
		return nil
	})
	return func() {
		leave()
		g.close()
	}
}

// RegistryRoute is a row of the registry API.
type RegistryRoute struct {
	Method, Path string
	Access       registry.Access
}

// RegistryRoutes lists the rows, so that tests can try every one of them.
func (s *Server) RegistryRoutes() []RegistryRoute {
	var rows []RegistryRoute
	for _, rt := range s.registryRoutes() {
		rows = append(rows, RegistryRoute{rt.method, rt.path, rt.access})
	}
	return rows
}
