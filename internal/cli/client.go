package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/outcome"
)

// clientCommand groups the commands about clients of the token service.
type clientCommand struct {
	Add    clientAdd    `cmd:"" help:"Add a client and print its secret, once."`
	List   clientList   `cmd:"" help:"List the clients."`
	Remove clientRemove `cmd:"" help:"Remove a client that was added. Its tokens stay valid until they expire; it is logged out."`
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
	return readConfig(f.Config, io, flags)
}

// clientAdd is "arcd client add".
type clientAdd struct {
	clientsFile
	Name        string   `arg:"" help:"Client id."`
	Scope       []string `placeholder:"SCOPE" help:"Scope that its tokens may hold; several with commas or by repeating. Needed, besides with --admin."`
	Agent       []string `placeholder:"ID" help:"Agent that its tokens may send as; several are possible. Default: any."`
	Audience    string   `placeholder:"TEXT" help:"Audience of its tokens. Default: the token service's."`
	Admin       bool     `help:"Let it log in at /auth/login as an administrator of the registry."`
	SecretStdin bool     `help:"Take its secret, one line of at least 12 characters, from standard input instead of making one."`
}

// addedClient is the result of "client add".
type addedClient struct {
	ClientID     string   `json:"client_id"`
	ClientSecret string   `json:"client_secret,omitempty"` // only if arcd made it
	Scopes       []string `json:"scopes"`
	Agents       []string `json:"agents,omitempty"`
	Audience     string   `json:"audience,omitempty"`
	Admin        bool     `json:"admin,omitempty"`
	TokenURL     string   `json:"token_url,omitempty"` // for a client with scopes
	LoginURL     string   `json:"login_url,omitempty"` // for an administrator
}

func (*clientAdd) row() row {
	return row{
		danger: mutating, exits: []outcome.Exit{outcome.ExitConflict}, data: addedClient{}, stdin: maxSecretLine,
		examples: []string{"arcd client add ci --scope arc.task.controller,arc.agent.caller", "arcd client add root --admin --secret-stdin < password.txt"},
	}
}

// run stores the client with a hash of its secret and gives a secret that it
// made. A running server sees the client at once.
func (c *clientAdd) run(_ context.Context, io *console) (any, error) {
	l, err := c.load(io)
	if err != nil {
		return nil, err
	}
	if err := c.fits(io, l); err != nil {
		return nil, err
	}
	client := auth.Client{Scopes: words(c.Scope), Agents: words(c.Agent), Audience: c.Audience, Admin: c.Admin}
	secret, err := c.store(io, l.Auth.Issuer.ClientsFile, client)
	if errors.Is(err, auth.ErrClientExists) {
		return nil, outcome.Errorf(outcome.AlreadyExists, "%s", outcome.Sentence(err.Error())).Because(err)
	}
	if err != nil {
		return nil, err
	}
	added := addedClient{
		ClientID: c.Name, ClientSecret: secret, Scopes: append([]string{}, client.Scopes...), Agents: client.Agents, Audience: client.Audience,
		Admin: client.Admin,
	}
	if len(client.Scopes) > 0 {
		added.TokenURL = l.baseURL() + "/oauth/token"
	}
	if client.Admin {
		added.LoginURL = l.baseURL() + "/auth/login"
	}
	return added, nil
}

// check refuses a client that could not be used.
func (c *clientAdd) check(p *problems) {
	if len(words(c.Scope)) == 0 && !c.Admin {
		p.add("--scope", "is missing (or --admin)")
	}
}

// fits refuses a client that would be hidden by another, and warns of what looks
// odd.
func (c *clientAdd) fits(io *console, l *loaded) error {
	// A client of the configuration would hide the one in the file.
	if _, ok := l.Auth.Issuer.Clients[c.Name]; ok {
		return outcome.Errorf(outcome.AlreadyExists, "The configuration already has a client %s (auth.issuer.clients.%s).", c.Name, c.Name)
	}
	if c.Name == devClient {
		io.warn("HIDDEN_BY_DEV", "\"arcd serve --dev\" has a client %s of its own, which hides this one", devClient)
	}
	for _, scope := range words(c.Scope) {
		if !slices.Contains(auth.Scopes, scope) {
			io.warn("UNKNOWN_SCOPE", "%s is none of ARC's scopes (%s)", scope, strings.Join(auth.Scopes, ", "))
		}
	}
	return nil
}

// store adds the client to the file and gives its secret if it made one.
func (c *clientAdd) store(io *console, file string, client auth.Client) (secret string, err error) {
	if !c.SecretStdin {
		return auth.AddClient(file, c.Name, client)
	}
	if secret, err = secretLine(io.stdin); err != nil {
		return "", fmt.Errorf("reading the secret from standard input: %w", err)
	}
	return "", auth.AddClientSecret(file, c.Name, secret, client)
}

// maxSecretLine is more than any secret has, in bytes.
const maxSecretLine = 4096

// secretLine reads one line. Its end, if it has one, is no part of the secret;
// blanks are.
func secretLine(from io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(from, maxSecretLine+1))
	if err != nil {
		return "", err
	}
	line, rest, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSuffix(line, "\r")
	if rest != "" || len(text) > maxSecretLine || strings.Contains(line, "\r") {
		return "", errors.New("it is more than one line")
	}
	return line, nil
}

// show is how the result is shown to people.
func (a addedClient) show(p *page) { p.text(a.text()) }

func (a addedClient) plain() []string { return []string{a.ClientSecret} }

func (a addedClient) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client id:  %s\n", a.ClientID)
	password := ""
	if a.ClientSecret != "" {
		fmt.Fprintf(&b, "secret:     %s\n", a.ClientSecret)
		password = ":" + a.ClientSecret
	}
	if len(a.Scopes) > 0 {
		fmt.Fprintf(&b, "scopes:     %s\n", strings.Join(a.Scopes, " "))
	}
	if a.Admin {
		fmt.Fprintf(&b, "admin:      may log in at %s\n", a.LoginURL)
	}
	if a.ClientSecret != "" {
		b.WriteString("\nThe secret is not shown again.\n")
	}
	if a.TokenURL != "" {
		// Without the secret, curl asks for it.
		fmt.Fprintf(&b, "\nA token:\n\ncurl -sS %s -u '%s%s' -d grant_type=client_credentials\n", a.TokenURL, a.ClientID, password)
	}
	return b.String()
}

// clientList is "arcd client list".
type clientList struct{ clientsFile }

// listedClient is one row of "client list".
type listedClient struct {
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
	Agents   []string `json:"agents"`
	Admin    bool     `json:"admin"`
	Origin   string   `json:"origin"` // the clients file, or "configuration"
}

// listedClients is the result of "client list".
type listedClients struct {
	Items []listedClient `json:"items"`
}

func (*clientList) row() row {
	return row{danger: safe, data: listedClients{}, examples: []string{"arcd client list"}}
}

// run lists the clients of the file and of the configuration.
func (c *clientList) run(_ context.Context, io *console) (any, error) {
	l, err := c.load(io)
	if err != nil {
		return nil, err
	}
	file := l.Auth.Issuer.ClientsFile
	added, err := auth.Clients(file)
	if err != nil {
		return nil, fmt.Errorf("reading clients: %w", err)
	}
	clients := []listedClient{}
	list := func(c []string) []string { return append([]string{}, c...) } // never null
	for _, id := range sortedNames(added) {
		clients = append(clients, listedClient{id, list(added[id].Scopes), list(added[id].Agents), added[id].Admin, file})
	}
	for _, id := range sortedNames(l.Auth.Issuer.Clients) {
		configured := l.Auth.Issuer.Clients[id]
		clients = append(clients, listedClient{id, list(configured.Scopes), list(configured.Agents), configured.Admin, "configuration"})
	}
	io.listed(len(clients))
	return listedClients{clients}, nil
}

func (l listedClients) show(p *page) {
	var rows [][]string
	for _, x := range l.Items {
		admin := ""
		if x.Admin {
			admin = "yes"
		}
		rows = append(rows, []string{x.ClientID, strings.Join(x.Scopes, " "), strings.Join(x.Agents, " "), admin, x.Origin})
	}
	p.table([]string{"CLIENT", "SCOPES", "AGENTS", "ADMIN", "FROM"}, rows)
}

func (l listedClients) plain() []string {
	var ids []string
	for _, x := range l.Items {
		ids = append(ids, x.ClientID)
	}
	return ids
}

// clientRemove is "arcd client remove".
type clientRemove struct {
	clientsFile
	destroying
	Name string `arg:"" help:"Client id."`
}

// removedClient is the result of "client remove".
type removedClient struct {
	Effect   string `json:"effect"`
	ClientID string `json:"client_id"`
}

func (*clientRemove) row() row {
	return row{
		danger: destructive, exits: []outcome.Exit{outcome.ExitNotFound}, data: removedClient{},
		examples: []string{"arcd client remove ci --confirm-destructive"},
	}
}

// run removes a client that "client add" added.
func (c *clientRemove) run(_ context.Context, io *console) (any, error) {
	l, err := c.load(io)
	if err != nil {
		return nil, err
	}
	added, err := auth.Clients(l.Auth.Issuer.ClientsFile)
	if err != nil {
		return nil, fmt.Errorf("reading clients: %w", err)
	}
	if _, ok := added[c.Name]; !ok {
		return nil, outcome.Errorf(outcome.NotFound, "%s has no client %s.", l.Auth.Issuer.ClientsFile, c.Name)
	}
	if err := c.gate(io, "remove", "client "+c.Name); err != nil {
		return nil, err
	}
	if c.DryRun {
		return removedClient{"would_delete", c.Name}, nil
	}
	if err := auth.RemoveClient(l.Auth.Issuer.ClientsFile, c.Name); err != nil {
		return nil, err
	}
	return removedClient{"deleted", c.Name}, nil
}

func (r removedClient) show(p *page) { p.line("%s: %s", r.ClientID, r.Effect) }
