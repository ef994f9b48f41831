package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/caddy-session/caddy-session/session/pgstore/pgtest"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// storeOption is the global option for one store; arg may end in a block.
func storeOption(arg string) string { return "session {\n\tstore " + arg + "\n}" }

// inRedis is the global option for a server, with more time than a busy machine
// needs: for tests that are about something else.
func inRedis(r *redistest.Server) string { return storeOption(redisStore(r)) }

func redisStore(r *redistest.Server) string { return "redis " + r.Addr + " {\n\t\ttimeout 5s\n\t}" }

// eachStore runs a test with the global option for each kind of store.
func eachStore(t *testing.T, run func(t *testing.T, option string)) {
	t.Run("memory", func(t *testing.T) { run(t, storeOption("memory")) })
	t.Run("embedded", func(t *testing.T) {
		run(t, storeOption("embedded "+filepath.Join(t.TempDir(), "sessions.db")))
	})
	t.Run("redis", func(t *testing.T) { run(t, inRedis(redistest.Start(t))) })
	t.Run("postgres", func(t *testing.T) { run(t, inPostgres(t)) })
}

// inPostgres is inRedis for PostgreSQL, with a table of the test's own.
func inPostgres(t testing.TB) string {
	return storeOption(postgresStore(pgtest.Shared(t), "t_"+strings.ToLower(rand.Text())))
}

func postgresStore(server *pgtest.Server, table string) string {
	return "postgres " + server.URL("postgres", pgtest.Password) + " {\n\t\ttable " + table + "\n\t\ttimeout 5s\n\t}"
}

// redisDo runs one command in a redis-server and returns its answer.
func redisDo(t testing.TB, r *redistest.Server, words ...string) rueidis.RedisResult {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{r.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res := c.Do(context.Background(), c.B().Arbitrary(words...).Build())
	if err := res.Error(); err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%s: %v", words[0], err)
	}
	return res
}

// sessionID returns the public part of a cookie NAME=ID.SECRET.
func sessionID(cookie string) string {
	_, token, _ := strings.Cut(cookie, "=")
	id, _, _ := strings.Cut(token, ".")
	return id
}

// count returns how many requests have reached the application.
func (a *application) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.requests)
}

// gate is an application whose requests with the parameter wait stop, after
// they have arrived, until they are let go.
type gate struct {
	*application
	arrived chan struct{}
	open    chan struct{}
}

func newGate(t testing.TB) *gate {
	g := &gate{arrived: make(chan struct{}, 100), open: make(chan struct{})}
	g.application = app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("wait") {
			g.arrived <- struct{}{}
			select {
			case <-g.open:
			case <-r.Context().Done():
			}
		}
		scripted(w, r)
	})
	return g
}

// getLater sends a request that waits at the gate, and returns once it is
// there. Its response comes on the channel. It is sent again as long as the
// store can't load its session in time.
func (s *server) getLater(g *gate, target, cookie string) <-chan *response {
	s.t.Helper()
	var answer chan *response
	eventually(s.t, target+" is at the application", func() bool {
		answer = make(chan *response, 1)
		go func() {
			defer close(answer) // also when get has failed the test
			answer <- s.get(target+"&wait", cookie)
		}()
		select {
		case <-g.arrived:
			return true
		case r := <-answer:
			if r == nil || r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
				s.t.Fatalf("%s was answered without the application", target)
			}
			return false
		}
	})
	return answer
}

// await returns the response of getLater.
func (s *server) await(answer <-chan *response) *response {
	s.t.Helper()
	r, ok := <-answer
	if !ok {
		s.t.FailNow() // get has said why
	}
	return r
}

// at is get for a site with another host name than the address.
func (s *server) at(host, target, cookie string) *response {
	s.t.Helper()
	var line string
	if cookie != "" {
		line = "Cookie: " + cookie + "\r\n"
	}
	return s.parse(s.raw(fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%sConnection: close\r\n\r\n", target, host, line)))
}
