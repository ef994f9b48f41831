package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	_ "github.com/caddyserver/caddy/v2/modules/caddyevents/eventsconfig"

	"github.com/caddy-session/caddy-session/internal/lifeline"
)

// secret is the part of a cookie NAME=ID.SECRET that nobody may see.
func secret(cookie string) string { return cookie[strings.LastIndex(cookie, ".")+1:] }

// Tokens are in no log: not in that of Caddy at DEBUG, with the headers of
// reverse_proxy and FastCGI, nor in access logs.
func TestLogsHaveNoTokens(t *testing.T) {
	responder, root := php(t)
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), fmt.Sprintf(`log
session
root %s
handle /up {
	reverse_proxy %s
}
php_fastcgi %s`, root, a.host(), responder))
	var secrets []string
	cookie := s.get("/up?set=user%3Dalice", "").cookie()
	secrets = append(secrets, secret(cookie))
	for _, target := range []string{"/up", "/index.php", "/bad.php", "/up?set=nonsense", "/up?set=", "/up?control=renew", "/up"} {
		r := s.get(target, "first=1; "+cookie+"; last=2")
		if next := r.cookie(); next != "" {
			cookie = next
			secrets = append(secrets, secret(next))
		}
	}
	forged := "csid=" + sessionID(cookie) + "." + strings.Repeat("B", 42) + "A"
	s.get("/up", forged)
	s.get("/up", "csid="+strings.Repeat("malformed", 8))
	s.get("/up", cookie+"; "+s.get("/up?set=a%3Db", "").cookie()) // ambiguous
	if len(secrets) != 2 {
		t.Fatalf("%d tokens", len(secrets))
	}
	log := s.log.String()
	for _, what := range []string{"upstream roundtrip", "handled request", `"HTTP_X_SESSION_USER"`, "session committed", "several live sessions", "token with a wrong secret"} {
		if !strings.Contains(log, what) {
			t.Errorf("the log has no %q", what)
		}
	}
	for _, text := range append(secrets, secret(forged), strings.Repeat("malformed", 8)) {
		if i := strings.Index(log, text); i >= 0 {
			t.Errorf("logged: %s", log[max(0, i-300):min(len(log), i+100)])
		}
	}
}

// Each event is one line, at the level that docs/operations.md says, with the id.
func TestLogLines(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session {\n\tsubject user max 2\n}\nreverse_proxy "+a.host())
	line := func(level, id, message string, more ...string) {
		t.Helper()
		texts := append([]string{`"level":"` + level + `"`, `"msg":"` + message, id}, more...)
		if n := len(s.logged(texts...)); n != 1 {
			t.Errorf("%d lines with %q in\n%s", n, texts, strings.Join(s.logged(`"session"`), ""))
		}
	}
	anonymous := s.get("/?set=a%3Db", "").cookie()
	line("debug", sessionID(anonymous), "session committed", `"event":"created"`)
	s.get("/?control=destroy", anonymous)
	line("debug", sessionID(anonymous), "session ended", `"event":"destroyed"`)

	visitor := s.get("/?set=a%3Db", "").cookie()
	alice := s.get("/?set=user%3Dalice", visitor).cookie()
	line("info", sessionID(alice), "session committed", `"event":"renewed"`)
	s.get("/?set=secret%3Dswordfish", alice)
	line("debug", sessionID(alice), "session committed", `"event":"patched"`)
	s.get("/?set=nonsense", alice)
	line("error", "", "refusing a response", "not KEY=VALUE")
	s.get("/", alice[:len(alice)-2]+"AA")
	line("warn", sessionID(alice), "token with a wrong secret")
	out := s.get("/?unset=user", alice).cookie()
	line("info", sessionID(out), "session committed", `"event":"replaced"`, `"replaces":"`+sessionID(alice))
	var cookies [4]string
	for i := range cookies {
		cookies[i] = s.signIn("alice")
		time.Sleep(2 * time.Millisecond) // what is told apart by its time
	}
	line("info", sessionID(cookies[0]), "session ended", `"event":"evicted"`)
	s.get("/?control=revoke-others", cookies[3])
	line("info", sessionID(cookies[2]), "session ended", `"event":"revoked"`)
	for _, private := range []string{"swordfish", "nonsense"} {
		for _, logger := range []string{`"logger":"http.handlers.session"`, `"logger":"session"`, `"logger":"events"`} {
			if lines := s.logged(logger, private); lines != nil {
				t.Errorf("logged: %s", lines)
			}
		}
	}
	storeDown(t)
	s.get("/?set=a%3Db", "")
	line("error", "", "session was not saved")
}

func TestAccessLogHasTheSession(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "log\nsession\nreverse_proxy "+a.host())
	entry := func(target string) (fields map[string]any) {
		t.Helper()
		lines := s.logged(`"msg":"handled request"`, `"uri":"`+target+`"`)
		if len(lines) != 1 {
			t.Fatalf("%d lines for %s", len(lines), target)
		}
		if err := json.Unmarshal([]byte(lines[0]), &fields); err != nil {
			t.Fatal(err)
		}
		return fields
	}
	s.get("/anonymous", "")
	cookie := s.get("/create?set=user%3Dalice", "").cookie()
	s.get("/read", cookie)
	other := s.get("/out?unset=user", cookie).cookie()
	s.get("/end?control=destroy", other)
	for target, want := range map[string]any{"/anonymous": nil, "/create?set=user%3Dalice": sessionID(cookie), "/read": sessionID(cookie),
		"/out?unset=user": sessionID(other), "/end?control=destroy": sessionID(other)} {
		if got := entry(target)["session"]; got != want {
			t.Errorf("%s: session %v, want %v", target, got, want)
		}
	}
	if got := entry("/read")["user_id"]; got != "alice" {
		t.Errorf("user_id %v", got)
	}
}

func init() { caddy.RegisterModule(recorder{}) }

// recorder is a handler of Caddy's events that keeps them.
type recorder struct{}

var (
	recordedMu sync.Mutex
	recorded   []string
)

func (recorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.recorder", New: func() caddy.Module { return new(recorder) }}
}

func (*recorder) UnmarshalCaddyfile(*caddyfile.Dispenser) error { return nil }

func (*recorder) Handle(_ context.Context, e caddy.Event) error {
	recordedMu.Lock()
	defer recordedMu.Unlock()
	recorded = append(recorded, fmt.Sprintf("%s %v %s", e.Name(), e.Data, e.Origin().CaddyModule().ID))
	return nil
}

var _ caddyevents.Handler = (*recorder)(nil)

func TestEvents(t *testing.T) {
	a := app(t, scripted)
	var on strings.Builder
	for _, name := range []string{"created", "renewed", "destroyed", "forged"} {
		fmt.Fprintf(&on, "on session.%s recorder\n", name)
	}
	o := serveOperated(t, storeOption("memory")+"\nevents {\n"+on.String()+"}", "session\nreverse_proxy "+a.host())
	recordedMu.Lock()
	recorded = nil
	recordedMu.Unlock()
	told := func(want ...string) {
		t.Helper()
		for i := range want {
			want[i] = "session." + want[i] + " session"
		}
		var got []string
		eventually(t, "the events", func() bool {
			recordedMu.Lock()
			defer recordedMu.Unlock()
			got = slices.Clone(recorded)
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			t.Errorf("told\n%s\nwant\n%s", got, want)
		}
		recordedMu.Lock()
		recorded = recorded[len(got):]
		recordedMu.Unlock()
	}
	cookie := o.signIn("alice")
	id := sessionID(cookie)
	told("created map[id:" + id + "]")
	o.get("/?set=a%3Db", cookie)
	told()
	cookie = o.get("/?control=renew", cookie).cookie()
	told("renewed map[id:" + id + "]")
	o.get("/", cookie[:len(cookie)-2]+"AA")
	told("forged map[id:" + id + "]")
	o.get("/", cookie[:len(cookie)-2]+"AA") // too soon
	told()
	next := o.get("/?unset=user", cookie).cookie()
	told("destroyed map[id:"+id+" reason:replaced]", "created map[id:"+sessionID(next)+"]")
	o.get("/?control=destroy", next)
	told("destroyed map[id:" + sessionID(next) + " reason:destroyed]")
	id = sessionID(o.signIn("bob"))
	o.post("end", `{"id":"`+id+`"}`)
	told("created map[id:"+id+"]", "destroyed map[id:"+id+" reason:ended]")
}

func TestTracing(t *testing.T) {
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/locked" {
			ask(t, r.Header.Get("X-Session-Api"), "PATCH", "", `{"c":1}`)
			ask(t, r.Header.Get("X-Session-Api"), "PATCH", "", `{"c":2}`, "If-None-Match: *")
		}
		scripted(w, r)
	})
	s := &server{t: t, addr: freeAddr(t)}
	config := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, config, fmt.Sprintf("{\nadmin off\npersist_config off\n%s\n}\nhttp://%s {\ntracing\nsession {\napi\nlock /locked 5s\n}\nreverse_proxy %s\n}\n",
		withAPI(freeAddr(t)), s.addr, a.host()), 0o600)
	cmd := exec.Command(os.Args[0], "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "E2E_CADDY_COMMAND=1", "OTEL_TRACES_EXPORTER=console")
	var text bytes.Buffer
	cmd.Stdout = &text
	cmd.WaitDelay = timeout
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	eventually(t, "Caddy listens", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	cookie := s.signIn("alice")
	s.get("/locked?set=a%3Db", cookie)
	s.get("/?control=destroy", cookie)
	s.get("/", cookie)
	cmd.Process.Signal(os.Interrupt) // which flushes
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}

	type span struct {
		Name       string
		Parent     struct{ SpanID string }
		Attributes []struct {
			Key   string
			Value struct{ Value any }
		}
	}
	got := map[string]int{}
	parents := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(text.Bytes())); decoder.More(); {
		var one span
		if err := decoder.Decode(&one); err != nil {
			t.Fatalf("%v in %s", err, text.String())
		}
		if !strings.HasPrefix(one.Name, "session.") {
			continue
		}
		line := one.Name
		for _, attribute := range one.Attributes {
			line += fmt.Sprint(" ", strings.TrimPrefix(attribute.Key, "session."), "=", attribute.Value.Value)
		}
		got[line]++
		parents[line] = one.Parent.SpanID
		if one.Parent.SpanID == "" || strings.Trim(one.Parent.SpanID, "0") == "" {
			t.Errorf("%s has no parent", line)
		}
	}
	for line, n := range map[string]int{
		"session.load store=memory outcome=live": 2, "session.load store=memory outcome=none": 1,
		"session.commit store=memory retries=0 outcome=created": 1, "session.commit store=memory retries=0 outcome=patched": 1,
		"session.commit store=memory retries=0 outcome=destroyed": 1,
		"session.lock store=memory outcome=taken":                 1,
		"session.api operation=patch outcome=ok":                  1,
		"session.api operation=patch outcome=conflict":            1,
	} {
		if got[line] != n {
			t.Errorf("%d spans %s, want %d; all: %v", got[line], line, n, got)
		}
		delete(got, line)
	}
	for _, line := range []string{"session.api operation=patch outcome=ok", "session.commit store=memory retries=0 outcome=patched"} {
		if parents[line] != parents["session.lock store=memory outcome=taken"] {
			t.Errorf("%s is of another request", line)
		}
	}
	if len(got) > 0 || strings.Contains(text.String(), secret(cookie)) {
		t.Errorf("also: %v", got)
	}
}

// A front controller's path is not where the browser has been.
func TestLinesNameTheBrowsersPath(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep a\n\t}\n}\nrewrite * /index.php?{query}\nreverse_proxy "+a.host())
	for query, want := range map[string]string{
		"set=%5B%5D":                                   "session headers are wrong",
		"set=a%3Db&h.Cache-Control=public":             "making a response private",
		"h.Set-Cookie=a%3Db%3B+Domain%3Dother.example": "ignoring a cookie that the application sets",
	} {
		s.get("/shop/a%20b?"+query, "")
		if s.logged(want, `"path":"/shop/a%20b"`) == nil {
			t.Errorf("no line %q with the path: %s", want, s.logged(want))
		}
	}
}
