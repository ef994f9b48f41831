package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// contender is one thing that is measured.
type contender struct {
	id   string // for -only
	name string
	note string // what one must know to compare it

	// The id of what it is compared with, in pairs: a site of the same process
	// where there is one. Empty: with nothing, because it is what others are
	// compared with.
	against string

	// The id of the same proxy without sessions: what this one takes more is what
	// the session costs. Empty: it is such a proxy.
	over string

	// Measured for what it is compared with, but not shown.
	hidden bool

	url    string
	server *process
	behind *process // the application, if it is another one than for the rest
	store  string   // the server of its sessions: redis, postgres, or none
	admin  string   // the address of Caddy's API; empty unless profiles are kept

	login  string // the path that signs in; empty: requests without a session
	cookie string // the Cookie header, from signing in
	proof  string // what /whoami answers if the session was read
}

const signedIn = "session: alice\n"

// all lists what can be measured, in the order of the report. The names of the
// sites and the processes are the ids.
var all = []contender{
	{id: "bare", name: "Caddy, bare `reverse_proxy`"},
	{id: "headers", name: "Caddy, the same headers, no sessions", against: "bare", over: "bare", proof: signedIn,
		note: "what it costs Caddy to proxy with four more headers in a request and two in the response"},
	{id: "nocookie", name: "Caddy, session, no cookie", against: "bare", over: "bare"},
	{id: "embedded", name: "Caddy, session, embedded store", against: "bare", over: "bare", login: "/login", proof: signedIn},
	{id: "user", name: "Caddy, session, embedded store, `request_headers user`", against: "bare", over: "bare", login: "/login", proof: signedIn,
		note: "the application gets the user's name alone"},
	{id: "kept", name: "Caddy, session, embedded store, a kept cookie", against: "bare", over: "bare", login: "/login?cookie",
		proof: signedIn + "cookie: appsid=0123456789abcdef0123456789abcdef\n"},
	{id: "bare-redis", hidden: true, name: "Caddy, bare, beside redis"},
	{id: "redis", name: "Caddy, session, Redis", against: "bare-redis", over: "bare-redis", store: "redis", login: "/login", proof: signedIn},
	{id: "bare-near", hidden: true, name: "Caddy, bare, beside near"},
	{id: "near", name: "Caddy, session, Redis, near-cache", against: "bare-near", over: "bare-near", store: "redis", login: "/login", proof: signedIn},
	{id: "bare-postgres", hidden: true, name: "Caddy, bare, beside postgres"},
	{id: "postgres", name: "Caddy, session, PostgreSQL", against: "bare-postgres", over: "bare-postgres", store: "postgres", login: "/login", proof: signedIn},
	{id: "nginx", name: "nginx, bare", against: "bare"},
	{id: "apache-bare", name: "Apache, bare", against: "bare"},
	{id: "apache", name: "Apache, mod_session_cookie", against: "bare", over: "apache-bare", login: "/login", proof: "session: user=alice",
		note: "the session is in the cookie, readable and not signed"},
	{id: "apache-crypto", name: "Apache, mod_session_cookie, encrypted", against: "bare", over: "apache-bare", login: "/login", proof: "session: user=alice",
		note: "the session is in the cookie, and encrypted by mod_session_crypto"},
	{id: "scs-bare", name: "Go `httputil.ReverseProxy`, bare", against: "bare"},
	{id: "scs", name: "Go `httputil.ReverseProxy` with scs, Redis", against: "bare", over: "scs-bare", store: "redis", login: "/login", proof: signedIn,
		note: "no idle timeout, its default; with one, every request writes"},
	{id: "express-bare", name: "Express, bare, proxying", against: "bare"},
	{id: "express", name: "express-session and connect-redis, proxying", against: "bare", over: "express-bare", store: "redis", login: "/login", proof: signedIn,
		note: "one process of Node; every request extends the session in Redis, its default"},
	{id: "express-self-bare", name: "Express, bare, answering itself", against: "bare"},
	{id: "express-self", name: "express-session and connect-redis, answering itself", against: "bare", over: "express-self-bare", store: "redis", login: "/login", proof: signedIn,
		note: "as above, without a proxy and an upstream"},
	{id: "express-behind-bare", name: "Express, bare, behind bare Caddy", against: "bare"},
	{id: "express-behind", name: "express-session and connect-redis, behind bare Caddy", against: "bare", over: "express-behind-bare", store: "redis", login: "/login", proof: signedIn,
		note: "the application of the line above; CPU and memory are those of Caddy and the application together"},
	{id: "express-adapter", name: "Express with `adapters/express`, Caddy, session, Redis", against: "bare", over: "express-behind-bare", store: "redis", login: "/login", proof: signedIn,
		note: "the same application, behind Caddy; CPU and memory are those of both together"},
}

// tuning lists what -tuning adds.
var tuning = []contender{
	{id: "keepalive", name: "`keepalive_idle_conns_per_host 256`", against: "bare"},
	{id: "compression", name: "`compression off` to the upstream", against: "bare",
		note: "changes something only for clients that do not ask for compression themselves"},
	{id: "quiet", name: "`log { exclude http.handlers.reverse_proxy }`", against: "bare"},
	{id: "quiet-embedded", name: "the same, with sessions in the embedded store", against: "bare", login: "/login", proof: signedIn},
	{id: "gogc200", name: "`GOGC=200`", against: "bare"},
	{id: "gogc400", name: "`GOGC=400`", against: "bare"},
}

func ids(contenders []contender) []string {
	var list []string
	for _, c := range contenders {
		if !c.hidden {
			list = append(list, c.id)
		}
	}
	return list
}

func names() []string       { return ids(all) }
func tuningNames() []string { return ids(tuning) }

// chosen returns what is to be measured, with all that it is compared with.
func (o options) chosen() []*contender {
	list := slices.Clone(all)
	if o.tuning {
		list = append(list, tuning...)
	}
	wanted := map[string]bool{"bare": true}
	for _, c := range list {
		if !c.hidden && (len(o.only) == 0 || slices.Contains(o.only, c.id)) {
			wanted[c.id], wanted[c.against], wanted[c.over] = true, true, true
		}
	}
	var chosen []*contender
	for _, c := range list {
		if wanted[c.id] {
			chosen = append(chosen, &c)
		}
	}
	return chosen
}

var client = &http.Client{
	Timeout:       10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetch makes one request, and returns the body and the cookies that were set.
func (c *contender) fetch(ctx context.Context, path, cookie string) (body string, cookies []*http.Cookie, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return "", nil, err
	}
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	// As a client that would forge it.
	r.Header.Set("X-Session-User", "mallory")
	answer, err := client.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if err != nil {
		return "", nil, err
	}
	if answer.StatusCode >= 300 {
		return "", nil, fmt.Errorf("%s answers %s with %s: %s", c.name, path, answer.Status, text)
	}
	return string(text), answer.Cookies(), nil
}

// signIn gets the cookie, and makes sure that it is worth something: without
// it there is no session, with it there is.
func (c *contender) signIn(ctx context.Context) error {
	if c.login != "" {
		_, cookies, err := c.fetch(ctx, c.login, "")
		if err != nil {
			return err
		}
		var pairs []string
		for _, cookie := range cookies {
			pairs = append(pairs, cookie.Name+"="+cookie.Value)
		}
		if c.cookie = strings.Join(pairs, "; "); c.cookie == "" {
			return fmt.Errorf("%s sets no cookie when one signs in", c.name)
		}
		// Else the browser's cookie would be measured, and not a kept one.
		if strings.Contains(c.cookie, "appsid") {
			return fmt.Errorf("%s does not keep the application's cookie", c.name)
		}
		body, _, err := c.fetch(ctx, "/whoami", "")
		if err != nil {
			return err
		}
		if strings.Contains(body, "alice") || strings.Contains(body, "mallory") {
			return fmt.Errorf("%s without a cookie answers %q", c.name, body)
		}
	}
	return c.check(ctx)
}

// check makes sure that the session is read.
func (c *contender) check(ctx context.Context) error {
	body, _, err := c.fetch(ctx, "/whoami", c.cookie)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(body, c.proof) || strings.Contains(body, "alice") != (c.proof != "") {
		return fmt.Errorf("%s answers %q, which does not begin with %q", c.name, body, c.proof)
	}
	return nil
}
