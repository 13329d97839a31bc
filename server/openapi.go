package server

import (
	_ "embed"
	"net/http"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// openAPISource is the document for a server with everything on it. Paths that
// are not always there say with x-needs what they need.
//
//go:embed openapi.json
var openAPISource []byte

// openAPIDocument is the part of an OpenAPI document that depends on the server.
type openAPIDocument struct {
	OpenAPI    jsontext.Value            `json:"openapi"`
	Info       map[string]jsontext.Value `json:"info"`
	Servers    []openAPIServer           `json:"servers"`
	Tags       jsontext.Value            `json:"tags"`
	Paths      map[string]openAPIPath    `json:"paths"`
	Components jsontext.Value            `json:"components"`
}

type openAPIServer struct {
	URL string `json:"url"`
}

// openAPIPath is what can be done at one path.
type openAPIPath struct {
	Needs   string                    `json:"x-needs,omitempty"` // "issuer" or "registry"; "": nothing
	Methods map[string]jsontext.Value `json:",embed"`
}

// openAPI makes the OpenAPI 3.1 document of this server: its version, its public
// URL, and the paths that it has. The document is part of the program, so one that
// cannot be read is a fault of the program.
func (s *Server) openAPI() []byte {
	var doc openAPIDocument
	if err := jsonv2.Unmarshal(openAPISource, &doc); err != nil {
		panic("server: openapi.json: " + err.Error())
	}
	version, err := jsontext.AppendQuote(nil, s.cfg.Version)
	if err == nil {
		doc.Info["version"] = version
	}
	if s.cfg.PublicURL != "" {
		doc.Servers = []openAPIServer{{URL: s.cfg.PublicURL}}
	}
	there := map[string]bool{"": true, "issuer": s.cfg.Issuer != nil, "registry": s.cfg.Registry != nil}
	for path, what := range doc.Paths {
		if !there[what.Needs] {
			delete(doc.Paths, path)
			continue
		}
		what.Needs = ""
		doc.Paths[path] = what
	}
	b, err := jsonv2.Marshal(doc, jsonv2.Deterministic(true))
	if err != nil {
		panic("server: openapi.json: " + err.Error())
	}
	return b
}

// openAPIPage serves the document, which is made once.
func (s *Server) openAPIPage() func(*response, *http.Request) {
	document := s.openAPI()
	return func(w *response, _ *http.Request) {
		h := w.Header()
		h["Content-Type"] = mediaJSON
		h["Cache-Control"] = []string{metadataCache}
		s.write(w, http.StatusOK, document)
	}
}
