package appcookies

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/origin"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// newRules keeps PHPSESSID, seals lang, which X-Lang forwards, and counts.
func newRules(t *testing.T) (*Rules, map[session.Event]int) {
	t.Helper()
	rules := cookiejar.Rules{
		Keep: []string{"PHPSESSID"}, Seal: []cookiejar.WrapRule{{Names: []string{"lang"}}},
		Keys: []string{strings.Repeat("k", 32)}, Forward: []cookiejar.ForwardCookie{{Name: "lang"}},
	}
	keeper, err := rules.Compile([]string{"sid"}, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	counted := map[session.Event]int{}
	return &Rules{Keeper: keeper, Headers: []string{"X-Lang"}, Slack: time.Minute, Log: zap.NewNop(),
		Count: func(e session.Event) { counted[e]++ }}, counted
}

func request(cookie string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	return r
}

func shared(r *http.Request) *Shared {
	return &Shared{Lines: r.Header["Cookie"], Names: []string{"sid"}}
}

func setCookies(lines ...string) http.Header { return http.Header{"Set-Cookie": lines} }

// Without rules the cookies are left alone.
func TestNoRules(t *testing.T) {
	var none *Rules
	r := request("a=b")
	c := none.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	c.Show()
	header := setCookies("a=b")
	header.Set("Trailer", "Set-Cookie")
	c.Clean(header, "")
	took := c.Take(header, "")
	c.Send(header, "", session.Result{})
	none.StripTrailers(header)
	if c != nil || took || c.Private() || r.Header.Get("Cookie") != "a=b" || header.Get("Set-Cookie") != "a=b" || header.Get("Trailer") == "" {
		t.Errorf("%v, %v, %v", c, r.Header, header)
	}
}

// From a response by way of the session, or the browser, into the next request.
func TestThereAndBack(t *testing.T) {
	rules, counted := newRules(t)
	r := request("PHPSESSID=planted; theme=dark; lang=planted")
	c := rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	c.Show()
	if got := r.Header.Get("Cookie"); got != "theme=dark" || r.Header.Get("X-Lang") != "" || counted[sessionapp.EventCookieInvalid] != 1 {
		t.Errorf("the application sees %q, counted %v", got, counted)
	}
	header := setCookies("sid=own", "PHPSESSID=1", "lang=fr", "theme=light")
	if !c.Take(header, "sid=own") {
		t.Fatal("nothing is kept")
	}
	patch := c.Keep(nil, nil)
	if patch == nil || patch.Edit == nil || !patch.Writes() {
		t.Fatalf("patch %v", patch)
	}
	changes, edited := patch.Edit(nil)
	c.Send(header, "sid=own", session.Result{Edited: edited})
	lines := header["Set-Cookie"]
	if len(lines) != 3 || lines[0] != "sid=own" || !strings.HasPrefix(lines[1], "lang=") || lines[1] == "lang=fr" || lines[2] != "theme=light" {
		t.Errorf("the browser gets %q", lines)
	}
	if !c.Private() || len(counted) != 1 {
		t.Errorf("private %v, counted %v", c.Private(), counted)
	}
	private, err := json.Marshal(changes)
	if err != nil || !strings.Contains(string(private), "PHPSESSID") {
		t.Errorf("the session gets %s, %v", private, err)
	}

	sealed, _, _ := strings.Cut(lines[1], ";")
	r = request(sealed)
	c = rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	c.Show()
	if got := r.Header.Get("Cookie") + " " + r.Header.Get("X-Lang"); got != "lang=fr fr" {
		t.Errorf("the application sees %q", got)
	}
}

// What is in the session already is not written again, unless it is gone when it
// is committed.
func TestKeepWhatIsThere(t *testing.T) {
	rules, _ := newRules(t)
	r := request("")
	c := rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	c.Take(setCookies("PHPSESSID=1"), "")
	changes, _ := c.Keep(nil, nil).Edit(nil)
	private, err := json.Marshal(changes)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.edit(private); again != nil {
		t.Errorf("written again: %v", again)
	}
	if other, _ := c.edit([]byte(`{}`)); other == nil {
		t.Error("not written into an empty jar")
	}
}

func TestRefuse(t *testing.T) {
	rules, counted := newRules(t)
	r := request("")
	c := rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	header := setCookies("PHPSESSID=1")
	if !c.Take(header, "") {
		t.Fatal("nothing is kept")
	}
	c.Refuse(errors.New("no session"))
	c.Send(header, "", session.Result{})
	if counted[sessionapp.EventCookieIgnored] != 1 || len(header["Set-Cookie"]) != 0 || !c.Private() {
		t.Errorf("counted %v, header %v", counted, header)
	}
}

// The second handler of a request starts from the cookies as they came. The
// response goes through the rules of the first that sees it.
func TestSeveralHandlers(t *testing.T) {
	rules, _ := newRules(t)
	r := request("PHPSESSID=planted; sid=x; theme=dark")
	all := shared(r)
	first := rules.Enter(r, all, nil, origin.Of(r, origin.Settings{}), "/")
	if got := r.Header.Get("Cookie"); got != "sid=x; theme=dark" { // whose handler takes sid out before
		t.Errorf("the first handler's application sees %q", got)
	}
	keeper, err := cookiejar.Rules{Keep: []string{"other"}}.Compile([]string{"sid"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	others := &Rules{Keeper: keeper, Headers: rules.Headers, Slack: rules.Slack, Log: rules.Log, Count: rules.Count}
	others.Enter(r, all, nil, origin.Of(r, origin.Settings{}), "/")
	if got := r.Header.Get("Cookie"); got != "PHPSESSID=planted; theme=dark" {
		t.Errorf("the application of one with other rules sees %q", got)
	}
	second := rules.Enter(r, all, nil, origin.Of(r, origin.Settings{}), "/")
	if got := r.Header.Get("Cookie"); got != "theme=dark" {
		t.Errorf("the second handler's application sees %q", got)
	}
	header := setCookies("PHPSESSID=1", "lang=fr")
	if !second.Take(header, "") {
		t.Error("the inner one keeps nothing")
	}
	second.Send(header, "", session.Result{})
	sealed := header.Get("Set-Cookie")
	if first.Take(header, "") {
		t.Error("the outer one keeps something")
	}
	first.Send(header, "", session.Result{})
	if got := header["Set-Cookie"]; len(got) != 1 || got[0] != sealed {
		t.Errorf("sealed twice: %q", got)
	}
}

func TestStripTrailers(t *testing.T) {
	rules, _ := newRules(t)
	header := http.Header{
		"Trailer": {"X-Sum, set-cookie"}, "Set-Cookie": {"a=b"},
		http.TrailerPrefix + "Set-Cookie": {"a=b"}, http.TrailerPrefix + "X-Sum": {"1"},
	}
	rules.StripTrailers(header)
	if header.Get("Trailer") != "X-Sum" || header.Get("Set-Cookie") != "a=b" || len(header) != 3 || header[http.TrailerPrefix+"X-Sum"] == nil {
		t.Errorf("%v", header)
	}
}

// A 1xx response, or one that comes to nothing, shows no cookie that is kept or
// would have been sealed.
func TestClean(t *testing.T) {
	rules, counted := newRules(t)
	r := request("")
	c := rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
	header := setCookies("PHPSESSID=1", "lang=fr", "theme=light", "sid=own")
	c.Clean(header, "sid=own")
	if got := strings.Join(header["Set-Cookie"], ","); got != "theme=light,sid=own" || len(counted) != 0 {
		t.Errorf("%s, counted %v", got, counted)
	}
	if !c.Take(setCookies("PHPSESSID=1"), "") {
		t.Error("the final response is not looked at")
	}
}

// What an application does that keep http_only can't go by is told.
func TestTellsOfAttributes(t *testing.T) {
	keeper, err := cookiejar.Rules{Keep: []string{"PHPSESSID"}, KeepHTTPOnly: true}.Compile(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	rules := &Rules{Keeper: keeper, Log: zap.New(core), Count: func(session.Event) {}}
	for range 2 {
		r := request("")
		c := rules.Enter(r, shared(r), nil, origin.Of(r, origin.Settings{}), "/")
		if !c.Take(setCookies("PHPSESSID=1", "theme=dark", "id=1; HttpOnly", strings.Repeat("n", 300)+"=1; HttpOnly"), "") {
			t.Fatal("nothing is kept")
		}
	}
	var told []string
	for _, line := range logs.All() {
		name, _ := line.ContextMap()["name"].(string)
		told = append(told, line.Level.String()+" "+name[:min(len(name), 9)])
	}
	if got, want := strings.Join(told, ", "), "info PHPSESSID, warn nnnnnnnnn"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
}
