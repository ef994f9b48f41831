package caddysession

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// The tests of this package have no server: handlers are what their Caddyfile
// makes of them, requests and responses those of httptest.

// site is where handlers share one session app, with a store in memory.
type site struct {
	t     *testing.T
	ctx   caddy.Context
	app   *sessionapp.App
	store *testStore
}

// inCaddy is what all sites are in: Caddy with a configuration that says nothing.
var inCaddy = sync.OnceValues(func() (caddy.Context, error) {
	return caddy.ProvisionContext(&caddy.Config{Logging: &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		caddy.DefaultLoggerName: {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output":"discard"}`)}},
	}}})
})

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteOf(t, `{"store":{"module":"test"},"api":{"listen":"127.0.0.1:2021"}}`)
}

// newSiteOf returns a site with an app of these settings, which does not start.
func newSiteOf(t *testing.T, settings string) *site {
	t.Helper()
	whole, err := inCaddy()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(whole)
	t.Cleanup(cancel)
	app, err := ctx.LoadModuleByID("session", json.RawMessage(settings))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, ctx: ctx, app: app.(*sessionapp.App), store: lastStore}
}

// handler returns the handler of a block of settings, in a site of its own.
func handler(t *testing.T, block string) (*Handler, *site) {
	t.Helper()
	s := newSite(t)
	return s.handler(block), s
}

// handler returns one more handler.
func (s *site) handler(block string) *Handler {
	s.t.Helper()
	h, err := s.load(block)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *site) load(block string) (*Handler, error) {
	parsed, err := parse(block)
	if err != nil {
		return nil, err
	}
	return s.provision(parsed)
}

// provision makes a handler of settings, as Caddy does.
func (s *site) provision(settings *Handler) (*Handler, error) {
	module, err := s.ctx.LoadModuleByID("http.handlers.session", caddyconfig.JSON(settings, nil))
	if err != nil {
		return nil, err
	}
	return module.(*Handler), nil
}

func parse(block string) (*Handler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("session {\n" + block + "\n}"))
}

// testStore is a store in memory that can be down.
type testStore struct {
	session.Store
	down    atomic.Bool
	failPut atomic.Bool // it reads, and does not write
	failGet atomic.Bool // it reads the beginnings of sessions and no more
	gets    atomic.Int64
}

var (
	errDown   = errors.New("the store is down")
	lastStore *testStore
)

func (s *testStore) Get(ctx context.Context, id string) (session.Entry, error) {
	s.gets.Add(1)
	if s.down.Load() || s.failGet.Load() {
		return session.Entry{}, errDown
	}
	return s.Store.Get(ctx, id)
}

func (s *testStore) GetPrefix(ctx context.Context, id string, size int) (session.Entry, error) {
	if s.down.Load() {
		return session.Entry{}, errDown
	}
	prefixes, _ := session.As[session.PrefixReader](s.Store)
	return prefixes.GetPrefix(ctx, id, size)
}

func (s *testStore) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	if s.down.Load() || s.failPut.Load() {
		return errDown
	}
	return s.Store.Put(ctx, id, expect, e)
}

// sessions returns how many there are.
func (s *testStore) sessions(t *testing.T) int {
	t.Helper()
	ids, next, err := s.List(t.Context(), "", 100)
	if err != nil || next != "" {
		t.Fatal(next, err)
	}
	n := 0
	for _, id := range ids {
		e, err := s.Get(t.Context(), id)
		if err == nil {
			_, err = session.Inspect(id, e, time.Now())
		}
		if err == nil {
			n++
		}
	}
	return n
}

func init() { caddy.RegisterModule(testStoreModule{}) }

// testStoreModule opens a testStore for each site.
type testStoreModule struct{ key string }

func (testStoreModule) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "session.stores.test", New: func() caddy.Module {
		return &testStoreModule{session.NewToken().ID}
	}}
}

func (m *testStoreModule) StoreKey() string { return m.key }

func (m *testStoreModule) NewStore(*zap.Logger) (session.Store, error) {
	lastStore = &testStore{Store: memstore.New()}
	return lastStore, nil
}

// request returns a request with a Cookie line, none if it is empty, as it comes
// to the handlers of a server.
func request(target, cookie string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return prepare(r)
}

func prepare(r *http.Request) *http.Request {
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), nil)
}

// application answers requests behind handlers.
type application = caddyhttp.HandlerFunc

// says returns an application that answers 200 with header lines.
func says(lines ...string) application {
	return func(w http.ResponseWriter, _ *http.Request) error {
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		_, err := fmt.Fprint(w, "body")
		return err
	}
}

// answer returns what the client gets, and the error that error routes get.
func answer(h caddyhttp.MiddlewareHandler, r *http.Request, app application) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	err := h.ServeHTTP(w, r, app)
	return w, err
}

// chain is handlers, the first around the second and so on.
type chain []caddyhttp.MiddlewareHandler

func (c chain) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if len(c) == 0 {
		return next.ServeHTTP(w, r)
	}
	return c[0].ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		return c[1:].ServeHTTP(w, r, next)
	}))
}

// status returns that of an error, 0 for none.
func status(err error) int {
	if e, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
		return e.StatusCode
	}
	if err != nil {
		return -1
	}
	return 0
}

// begin starts a session with data, an object in JSON, and returns its cookie.
func begin(t *testing.T, h *Handler, data string) string {
	t.Helper()
	w, err := answer(h, request("/", ""), says("X-Session-Set: "+data))
	if cookies := w.Result().Cookies(); err == nil && len(cookies) == 1 {
		return cookies[0].Name + "=" + cookies[0].Value
	}
	t.Fatalf("%s starts no session: %v, %v", data, w.Header(), err)
	return ""
}

// seen returns what an application sees of the session that a cookie is for.
func seen(t *testing.T, h *Handler, cookie string) (data string) {
	t.Helper()
	_, err := answer(h, request("/", cookie), func(_ http.ResponseWriter, r *http.Request) error {
		data = r.Header.Get("X-Session-Data")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}
