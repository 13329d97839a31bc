package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/auth"
)

// clientCommand groups the commands about clients of the token service.
type clientCommand struct {
	Add    clientAdd    `cmd:"" help:"Add a client and print its secret, once."`
	List   clientList   `cmd:"" help:"List the clients."`
	Remove clientRemove `cmd:"" help:"Remove a client that was added. Its tokens stay valid until they expire."`
}

// clientsFile says which file holds the clients.
type clientsFile struct {
	configFlags
	ClientsFile string `placeholder:"FILE" help:"Where clients are kept. Default: auth.issuer.clients_file."`
}

// load reads the configuration, with the file of the flag.
func (f clientsFile) load(io *console) (*loaded, error) {
	flags := map[string]string{}
	if f.ClientsFile != "" {
		flags["auth.issuer.clients_file"] = f.ClientsFile
	}
	return loadConfig(f.Config, io.env, flags)
}

// clientAdd is "arcd client add".
type clientAdd struct {
	clientsFile
	Name     string   `arg:"" help:"Client id."`
	Scope    []string `required:"" placeholder:"SCOPE" help:"Scope that its tokens may hold; several with commas or by repeating."`
	Agent    []string `placeholder:"ID" help:"Agent that its tokens may send as; several are possible. Default: any."`
	Audience string   `placeholder:"TEXT" help:"Audience of its tokens. Default: the token service's."`
}

// addedClient is the result of "client add".
type addedClient struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret"`
	Scopes       []string `json:"scopes"`
	Agents       []string `json:"agents,omitempty"`
	Audience     string   `json:"audience,omitempty"`
	TokenURL     string   `json:"token_url"`
}

// Run stores the client with a hash of its new secret and prints the secret. A
// running server sees the client at once.
func (c *clientAdd) Run(io *console) error {
	l, err := c.load(io)
	if err != nil {
		return err
	}
	// A client of the configuration would hide the one in the file.
	if _, ok := l.Auth.Issuer.Clients[c.Name]; ok {
		return fmt.Errorf("the configuration already has a client %s (auth.issuer.clients.%s)", c.Name, c.Name)
	}
	if c.Name == devClient {
		io.note("note: \"arcd serve --dev\" has a client %s of its own, which hides this one", devClient)
	}
	for _, scope := range words(c.Scope) {
		if !slices.Contains(auth.Scopes, scope) {
			io.note("note: %s is none of ARC's scopes (%s)", scope, strings.Join(auth.Scopes, ", "))
		}
	}
	client := auth.Client{Scopes: words(c.Scope), Agents: words(c.Agent), Audience: c.Audience}
	secret, err := auth.AddClient(l.Auth.Issuer.ClientsFile, c.Name, client)
	if err != nil {
		return err
	}
	added := addedClient{
		ClientID: c.Name, ClientSecret: secret, Scopes: client.Scopes, Agents: client.Agents, Audience: client.Audience,
		TokenURL: l.baseURL() + "/oauth/token",
	}
	text := fmt.Sprintf("client id:  %s\nsecret:     %s\nscopes:     %s\n\nThe secret is not shown again. A token:\n\n"+
		"curl -sS %s -u '%s:%s' -d grant_type=client_credentials",
		c.Name, secret, strings.Join(client.Scopes, " "), added.TokenURL, c.Name, secret)
	return io.print(text, added)
}

// clientList is "arcd client list".
type clientList struct{ clientsFile }

// listedClient is one row of "client list".
type listedClient struct {
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Agents   []string `json:"agents"`
	Origin   string   `json:"origin"` // the clients file, or "configuration"
}

// Run lists the clients of the file and of the configuration.
func (c *clientList) Run(io *console) error {
	l, err := c.load(io)
	if err != nil {
		return err
	}
	file := l.Auth.Issuer.ClientsFile
	added, err := auth.Clients(file)
	if err != nil {
		return fmt.Errorf("reading clients: %w", err)
	}
	clients := []listedClient{}
	for _, id := range sortedNames(added) {
		clients = append(clients, listedClient{id, added[id].Scopes, added[id].Agents, file})
	}
	for _, id := range sortedNames(l.Auth.Issuer.Clients) {
		configured := l.Auth.Issuer.Clients[id]
		clients = append(clients, listedClient{id, configured.Scopes, configured.Agents, "configuration"})
	}
	if io.json {
		return io.print("", clients)
	}
	rows := [][]string{{"CLIENT", "SCOPES", "AGENTS", "FROM"}}
	for _, x := range clients {
		rows = append(rows, []string{x.ClientID, strings.Join(x.Scopes, " "), strings.Join(x.Agents, " "), x.Origin})
	}
	return io.table(rows)
}

// clientRemove is "arcd client remove".
type clientRemove struct {
	clientsFile
	Name string `arg:"" help:"Client id."`
}

// Run removes a client that "client add" added.
func (c *clientRemove) Run(io *console) error {
	l, err := c.load(io)
	if err != nil {
		return err
	}
	if err := auth.RemoveClient(l.Auth.Issuer.ClientsFile, c.Name); err != nil {
		return err
	}
	return io.print("removed "+c.Name, map[string]any{"client_id": c.Name, "removed": true})
}
