package credential_test

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// Names of the Secret Service API of freedesktop.org, as far as it is needed.
const (
	secretsName       = "org.freedesktop.secrets"
	secretsPath       = "/org/freedesktop/secrets"
	secretsCollection = "/org/freedesktop/secrets/collection/login"
	secretsInterface  = "org.freedesktop.Secret"
)

// secret is the struct of the same name there.
type secret struct {
	Session     dbus.ObjectPath
	Parameters  []byte
	Value       []byte
	ContentType string
}

// secretService keeps secrets of one collection that is never locked. Each call
// is a method by the name in the API.
type secretService struct {
	conn *dbus.Conn

	mu     sync.Mutex
	items  map[dbus.ObjectPath]secret
	attrs  map[dbus.ObjectPath]map[string]string
	stored []string
}

// serveSecrets puts a secret service on the bus.
func serveSecrets(t *testing.T, address string) *secretService {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s := &secretService{conn: conn, items: map[dbus.ObjectPath]secret{}, attrs: map[dbus.ObjectPath]map[string]string{}}
	export := func(methods map[string]any, path dbus.ObjectPath, kind string) {
		if err := conn.ExportMethodTable(methods, path, secretsInterface+kind); err != nil {
			t.Fatal(err)
		}
	}
	export(map[string]any{"OpenSession": s.openSession, "Unlock": s.unlock}, secretsPath, ".Service")
	export(map[string]any{"SearchItems": s.search, "CreateItem": s.create}, secretsCollection, ".Collection")
	export(map[string]any{"Close": func() *dbus.Error { return nil }}, secretsPath+"/session", ".Session")
	if _, err := prop.Export(conn, secretsPath, prop.Map{secretsInterface + ".Service": {
		"Collections": {Value: []dbus.ObjectPath{secretsCollection}, Emit: prop.EmitFalse},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(secretsName, dbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *secretService) openSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	return dbus.MakeVariant(""), secretsPath + "/session", nil
}

func (s *secretService) unlock(paths []dbus.ObjectPath) ([]dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	return paths, "/", nil
}

func (s *secretService) search(wanted map[string]string) ([]dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []dbus.ObjectPath{}
	for path, attrs := range s.attrs {
		if attrs["service"] == wanted["service"] && attrs["username"] == wanted["username"] {
			found = append(found, path)
		}
	}
	return found, nil
}

func (s *secretService) create(properties map[string]dbus.Variant, value secret, _ bool) (dbus.ObjectPath, dbus.ObjectPath, *dbus.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	attrs, _ := properties[secretsInterface+".Item.Attributes"].Value().(map[string]string)
	path := dbus.ObjectPath(fmt.Sprintf("%s/%d", secretsCollection, len(s.stored)+1))
	s.items[path], s.attrs[path] = value, attrs
	s.stored = append(s.stored, string(value.Value))
	err := s.conn.ExportMethodTable(map[string]any{
		"GetSecret": func(dbus.ObjectPath) (secret, *dbus.Error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.items[path], nil
		},
		"Delete": func() (dbus.ObjectPath, *dbus.Error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.items, path)
			delete(s.attrs, path)
			return "/", nil
		},
	}, path, secretsInterface+".Item")
	if err != nil {
		return "/", "/", dbus.MakeFailedError(err)
	}
	return path, "/", nil
}

// TestSecretService goes through a real session bus with a small Secret Service
// on it, in a process of its own, as the library keeps its connection.
func TestSecretService(t *testing.T) {
	address := sessionBus(t)
	service := serveSecrets(t, address)
	s := newStore(t)
	p := start(t, "keyring", s, "https://arc.example/arc", "ARCD_KEYRING=auto", "DBUS_SESSION_BUS_ADDRESS="+address, "TEST_TOKEN=opaque-token")
	p.begin()
	if r := p.report(t); r.Err != "" || r.Token != "opaque-token" {
		t.Errorf("%+v", r)
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	if len(service.stored) != 1 || !strings.Contains(service.stored[0], "opaque-token") || len(service.items) != 0 {
		t.Errorf("stored %d, left %v", len(service.stored), slices.Collect(maps.Keys(service.items)))
	}
}

// sessionBus starts a message bus of its own and gives its address.
func sessionBus(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "dbus-daemon", "--session", "--nofork", "--print-address=1", "--address=unix:tmpdir="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("dbus-daemon is needed: %v", err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	line := make([]byte, 1024)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(line[:n]))
}
