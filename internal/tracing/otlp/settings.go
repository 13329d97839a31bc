package otlp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// settings is where spans go, and how.
type settings struct {
	url     *url.URL
	header  http.Header
	gzip    bool
	timeout time.Duration // of one request
	tls     *tls.Config   // nil: what the system trusts
}

// defaultTimeout is that of the specification.
const defaultTimeout = 10 * time.Second

// asked tells whether the environment asks for traces: the variable
// OTEL_TRACES_EXPORTER, or an endpoint where that is not set. It is an error if it asks
// only for what is not there.
func asked(getenv func(string) string) (bool, error) {
	if strings.EqualFold(strings.TrimSpace(getenv("OTEL_SDK_DISABLED")), "true") {
		return false, nil
	}
	exporters := strings.TrimSpace(getenv("OTEL_TRACES_EXPORTER"))
	if exporters == "" {
		_, endpoint := environment(getenv).get("ENDPOINT")
		return endpoint != "", nil
	}
	var unknown error
	for name := range strings.SplitSeq(exporters, ",") {
		switch name = strings.TrimSpace(name); name {
		case "otlp":
			return true, nil
		case "none", "":
		default:
			unknown = fmt.Errorf("OTEL_TRACES_EXPORTER: there is no exporter %q, only otlp", name)
		}
	}
	return false, unknown
}

// read reads where spans go (OpenTelemetry, "OTLP Exporter Configuration"). Errors name
// the variable, and not its value where that may be a secret.
func read(getenv func(string) string) (*settings, error) {
	env := environment(getenv)
	if name, protocol := env.get("PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		return nil, fmt.Errorf("%s: there is no %q, only http/protobuf", name, protocol)
	}
	s := &settings{timeout: defaultTimeout}
	for _, part := range []func(environment) error{s.readEndpoint, s.readHeaders, s.readCompression, s.readTimeout, s.readTLS} {
		if err := part(env); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// environment is where variables are.
type environment func(string) string

// get gives the variable for traces or, if that is not set, the one for everything.
func (env environment) get(name string) (variable, value string) {
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + name, "OTEL_EXPORTER_OTLP_" + name} {
		if value := strings.TrimSpace(env(variable)); value != "" {
			return variable, value
		}
	}
	return "OTEL_EXPORTER_OTLP_" + name, ""
}

// readEndpoint takes the endpoint for traces as it is, and puts the usual path behind
// that for everything.
func (s *settings) readEndpoint(env environment) error {
	name, endpoint := env.get("ENDPOINT")
	if endpoint == "" {
		endpoint = "http://localhost:4318"
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s must be a URL of http or https", name)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if name != "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" {
		u = u.JoinPath("v1/traces")
	}
	s.url = u
	return nil
}

// readHeaders reads pairs name=value between commas; values are percent-encoded.
func (s *settings) readHeaders(env environment) error {
	s.header = http.Header{}
	name, list := env.get("HEADERS")
	for pair := range strings.SplitSeq(list, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || err != nil || !goodHeader(key, value) {
			return fmt.Errorf("%s must be name=value pairs, with a comma between them", name)
		}
		s.header.Set(key, value)
	}
	return nil
}

// goodHeader tells whether these can be sent as a header (RFC 9110, section 5).
func goodHeader(key, value string) bool {
	for _, b := range []byte(key) {
		if b <= ' ' || b >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, b) >= 0 {
			return false
		}
	}
	for _, b := range []byte(value) {
		if b < ' ' && b != '\t' || b == 0x7f {
			return false
		}
	}
	return key != ""
}

func (s *settings) readCompression(env environment) error {
	name, way := env.get("COMPRESSION")
	switch way {
	case "", "none":
	case "gzip":
		s.gzip = true
	default:
		return fmt.Errorf("%s: there is no %q, only gzip and none", name, way)
	}
	return nil
}

func (s *settings) readTimeout(env environment) error {
	name, text := env.get("TIMEOUT")
	if text == "" {
		return nil
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	if err != nil || ms <= 0 {
		return fmt.Errorf("%s must be a number of milliseconds above 0", name)
	}
	s.timeout = time.Duration(ms) * time.Millisecond
	return nil
}

// readTLS reads whom to trust, and the certificate to show.
func (s *settings) readTLS(env environment) error {
	authorities, file := env.get("CERTIFICATE")
	shown, certificate := env.get("CLIENT_CERTIFICATE")
	_, key := env.get("CLIENT_KEY")
	if file == "" && certificate == "" && key == "" {
		return nil
	}
	s.tls = &tls.Config{}
	if file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading %s: %w", authorities, err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("reading %s: %w", authorities, errors.New("there is no certificate in it"))
		}
	}
	if certificate == "" && key == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("reading %s and its key: %w", shown, err)
	}
	s.tls.Certificates = []tls.Certificate{pair}
	return nil
}
