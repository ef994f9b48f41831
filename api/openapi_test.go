package api

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

// docs/openapi.yaml says what the handler does: each operation is asked for, with
// requests that the document allows, and each answer is one that it knows.
func TestOpenAPI(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	server, capability := testCapability(t, `{"user":"alice","a":1}`)
	doc.Servers = openapi3.Servers{{URL: strings.TrimSuffix(server.Header(capability)[0], "/")}}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			missing[method+" "+path] = true
		}
	}
	var tag string
	for _, one := range []struct {
		method, path, body string
		header             map[string]string
		status             int
	}{
		{"GET", "/", "", nil, 200},
		{"GET", "/?keys=user,a", "", nil, 200},
		{"GET", "/", "", map[string]string{"If-None-Match": "$"}, 304},
		{"PATCH", "/", `{"b":2}`, map[string]string{"If-Match": "$"}, 200},
		{"PATCH", "/", `{"b":2}`, map[string]string{"If-Match": "$"}, 412},
		{"PATCH", "/", `{"b":2}`, map[string]string{"If-None-Match": "*"}, 412},
		{"PUT", "/?all=", `{"user":"alice"}`, nil, 200},
		{"POST", "/touch", "", nil, 200},
		{"POST", "/lock?wait=500ms", "", nil, 200},
		{"DELETE", "/lock", "", nil, 204},
		{"DELETE", "/lock", "", nil, 404},
		{"POST", "/renew", "", nil, 200},
		{"POST", "/max-age?seconds=3600", "", nil, 200},
		{"GET", "/sessions", "", nil, 200},
		{"DELETE", "/sessions/AAAAAAAAAAAAAAAAAAAAAA", "", nil, 404},
		{"DELETE", "/sessions", "", nil, 204},
		{"POST", "/clear", "", nil, 200},
		{"DELETE", "/", "", nil, 204},
		{"GET", "/", "", nil, 404},
	} {
		r := httptest.NewRequest(one.method, strings.TrimSuffix(server.Header(capability)[0], "/")+one.path, strings.NewReader(one.body))
		if one.body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for name, value := range one.header {
			r.Header.Set(name, strings.Replace(value, "$", tag, 1))
		}
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Fatalf("%s %s: %v", one.method, one.path, err)
		}
		delete(missing, one.method+" "+route.Path)
		checkExchange(t, server, r, route, params, one.status)
		if one.method == "GET" && tag == "" {
			tag = etag(capability.result.Session)
		}
	}
	for operation := range missing {
		t.Errorf("nothing asks for %s", operation)
	}
}

// checkExchange has a request and its answer be what the document says.
func checkExchange(t *testing.T, server *Server, r *http.Request, route *routers.Route, params map[string]string, status int) {
	t.Helper()
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
	if err := openapi3filter.ValidateRequest(t.Context(), input); err != nil {
		t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	if w.Code != status {
		t.Errorf("%s %s: %d %s, want %d", r.Method, r.URL, w.Code, w.Body, status)
	}
	answer := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: w.Code, Header: w.Header(),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	answer.SetBodyBytes(w.Body.Bytes())
	if err := openapi3filter.ValidateResponse(t.Context(), answer); err != nil {
		t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
}

// unmoved is a response that need not know.
type unmoved struct{}

func (unmoved) Moved(session.Result) {}

// testCapability returns a server that does not listen, and an open capability for
// a session with data.
func testCapability(t testing.TB, data string) (*Server, *Capability) {
	t.Helper()
	policy := session.DefaultPolicy()
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(memstore.New(), policy, protocol.WithAPI(), session.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	site := &session.Site{Scope: session.Scope{Name: "csid", Host: "example.com", Path: "/"}, Realm: "example.com", Client: session.Client{IP: "192.0.2.1", UserAgent: "x"}}
	object, err := session.ParseObject(data)
	if err != nil {
		t.Fatal(err)
	}
	result, err := m.Commit(t.Context(), *site, nil, &session.Patch{Set: []map[string]any{object}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, err := (&Listener{Listen: "127.0.0.1:2021"}).Server(zap.NewNop(), func(session.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	c := New(m, site, result.Session, unmoved{}, nil)
	c.Open()
	t.Cleanup(c.Close)
	return server, c
}
