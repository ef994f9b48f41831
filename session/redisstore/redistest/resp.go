//go:build unix

package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// callTimeout is how long a server may take to answer Do.
const callTimeout = 10 * time.Second

// ErrorAnswer is an answer by which a server refuses a command.
type ErrorAnswer string

func (e ErrorAnswer) Error() string { return string(e) }

// Do runs one command in the server, over its unix socket and with its
// password, and returns the answer: a string, an int64, nil, or a []any of
// these, in which an ErrorAnswer may be too.
func (s *Server) Do(words ...string) any {
	s.t.Helper()
	answer, err := s.Try(words...)
	if err != nil {
		s.t.Fatalf("redis-server on %s: %s: %v", s.Addr, words[0], err)
	}
	return answer
}

// Try is Do for a server that may be down or refuse the command, which is an
// ErrorAnswer.
func (s *Server) Try(words ...string) (any, error) {
	conn, err := s.login()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.call(words...)
}

// transaction runs commands at once.
func (s *Server) transaction(commands ...[]string) {
	s.t.Helper()
	conn, err := s.login()
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	for _, words := range append(append([][]string{{"MULTI"}}, commands...), []string{"EXEC"}) {
		if _, err := conn.call(words...); err != nil {
			s.t.Fatalf("redis-server on %s: %s: %v", s.Addr, words[0], err)
		}
	}
}

// Info returns one line of INFO, or "" if there is none or no server.
func (s *Server) Info(section, name string) string {
	answer, _ := s.Try("INFO", section)
	return field(answer, name)
}

// field returns a value from lines of the form name:value.
func field(answer any, name string) string {
	text, _ := answer.(string)
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// conn speaks RESP2.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func (s *Server) dial() (*conn, error) {
	c, err := net.DialTimeout("unix", s.Socket, callTimeout)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(callTimeout))
	return &conn{c, bufio.NewReader(c)}, nil
}

func (s *Server) login() (*conn, error) {
	c, err := s.dial()
	if err != nil || s.password == "" {
		return c, err
	}
	if _, err := c.call("AUTH", s.password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *conn) call(words ...string) (any, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c, b.String()); err != nil {
		return nil, err
	}
	answer, err := c.read()
	if e, ok := answer.(ErrorAnswer); ok && err == nil {
		return nil, e
	}
	return answer, err
}

func (c *conn) read() (any, error) {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimRight(line[1:], "\r\n")
	switch kind {
	case '+':
		return rest, nil
	case '-':
		return ErrorAnswer(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	}
	n, err := strconv.Atoi(rest)
	switch {
	case err != nil || kind != '$' && kind != '*':
		return nil, fmt.Errorf("not RESP: %q", line)
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(c.in, b)
		return string(b[:n]), err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = c.read(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
