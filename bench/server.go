package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// server is a Caddy with one store and an API.
type server struct {
	*process
	admin string   // address of the API
	sites []string // their addresses
	store *process // nil if it has the embedded store
}

// startServer starts a Caddy with these sites. The store is what the setting
// says. ready waits until all listen.
func (l *lab) startServer(ctx context.Context, name, store string, ready bool, sites []string) (*server, error) {
	ports, err := freePorts(len(sites) + 1)
	if err != nil {
		return nil, err
	}
	s := &server{admin: address(ports[0])}
	for _, port := range ports[1:] {
		s.sites = append(s.sites, address(port))
	}
	var await []int
	if ready {
		await = ports
	}
	s.process, err = l.runCaddy(ctx, name, nil, caddyfile{admin: s.admin, store: store, sites: sites}, ports[1:], await)
	return s, err
}

// proxy returns the directive for the upstream, with a further setting of its
// transport. With fewer idle connections, connecting would be measured.
func (l *lab) proxy(transport string) string {
	return "\treverse_proxy " + address(l.upstream) + " {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t\t" +
		transport + "\n\t\t}\n\t}\n"
}

func (l *lab) say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "bench: %3.0f s: %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, values...))
}

// ask returns what the API answers.
func (s *server) ask(ctx context.Context, path string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers with %s: %s", path, answer.Status, body)
	}
	return string(body), err
}

// metric returns the sum of a metric over its labels, and false if Caddy does
// not have it.
func (s *server) metric(ctx context.Context, name string) (value float64, found bool, err error) {
	text, err := s.ask(ctx, "/metrics")
	if err != nil {
		return 0, false, err
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, false, err
		}
		value, found = value+v, true
	}
	return value, found, nil
}
