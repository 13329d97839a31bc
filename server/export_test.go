package server

import "github.com/arcd-io/arcd/registry"

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
