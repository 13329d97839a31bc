package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
)

// conn is a keep-alive HTTP/1.1 connection that does as little as possible, so
// that the client is never what is measured: it writes bytes made beforehand and
// reads status line, length and body.
type conn struct {
	net.Conn
	in   *bufio.Reader
	body []byte // of the last answer
}

// dial connects to a server in the network "tcp" on loopback.
func dial(ctx context.Context, address string, buffer int) (*conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, buffer)}, nil
}

// call sends a request and reads the answer; c.body holds it until the next.
func (c *conn) call(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	length, chunked, err := c.head()
	if err != nil {
		return err
	}
	if chunked {
		return c.chunks()
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	c.body = c.body[:length]
	_, err = io.ReadFull(c.in, c.body)
	return err
}

// head reads the status line and the headers. Any status but 200 is an error.
func (c *conn) head() (length int, chunked bool, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200"))
	status := string(bytes.TrimSpace(line))
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	if !ok {
		text, _ := io.ReadAll(io.LimitReader(c.in, int64(length)))
		return 0, false, fmt.Errorf("answer %q: %s", status, text)
	}
	return length, chunked, nil
}

// chunks reads a chunked body to its end.
func (c *conn) chunks() error {
	c.body = c.body[:0]
	from := httputil.NewChunkedReader(c.in)
	for {
		if len(c.body) == cap(c.body) {
			c.body = append(c.body, 0)[:len(c.body)]
		}
		n, err := from.Read(c.body[len(c.body):cap(c.body)])
		c.body = c.body[:len(c.body)+n]
		if errors.Is(err, io.EOF) {
			_, err = c.in.Discard(2) // the line end behind the last chunk
			return err
		}
		if err != nil {
			return err
		}
	}
}

// post makes the bytes of a POST.
func post(path, token, contentType string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
		path, token, contentType, len(body))
	b.Write(body)
	return b.Bytes()
}

// get makes the bytes of a GET.
func get(path, token string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n", path, token)
}

// load is one workload: what is called, and what a right answer is.
type load struct {
	// next gives the bytes of the n-th request of a connection.
	next func(connection, n int) []byte
	// right tells whether an answer is right.
	right func(body []byte) bool
}

// call makes one call of the load. A wrong answer is an error.
func (l load) call(c *conn, connection, n int) error {
	if err := c.call(l.next(connection, n)); err != nil {
		return err
	}
	if !l.right(c.body) {
		return fmt.Errorf("wrong answer: %s", c.body)
	}
	return nil
}

// same gives the same request every time.
func same(request []byte) func(int, int) []byte {
	return func(int, int) []byte { return request }
}

// contains tells right answers by a piece of text.
func contains(text string) func([]byte) bool {
	want := []byte(text)
	return func(body []byte) bool { return bytes.Contains(body, want) }
}
