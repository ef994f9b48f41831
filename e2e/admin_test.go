package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// The test binary is also the command caddy.
func init() {
	if os.Getenv("E2E_CADDY_COMMAND") != "" {
		caddycmd.Main()
		os.Exit(0)
	}
}

// operated is a server with its admin endpoint.
type operated struct {
	*server
	admin string
}

func serveOperated(t *testing.T, globals, site string) *operated {
	admin := freeAddr(t)
	return &operated{serve(t, "admin "+admin+"\n"+globals, site), admin}
}

// command runs `caddy session`.
func (o *operated) command(args ...string) (stdout, stderr string, status int) {
	o.t.Helper()
	return caddyCommand(o.t, append(append([]string{"session"}, args...), "--address", o.admin)...)
}

// caddyCommand runs `caddy` and returns its output and exit status.
func caddyCommand(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "E2E_CADDY_COMMAND=1", "TZ=UTC")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), status
}

// ask sends a request to the admin API with these header lines.
func (o *operated) ask(method, target, body string, lines ...string) (status int, answer string) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.t.Context(), method, "http://"+o.admin+target, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(b))
}

const isJSON = "Content-Type: application/json"

type listed struct {
	ID, Subject, Realm string
	LastSeen           string `json:"last_seen"`
	Created, Deadline  string
	Next               string
	Sessions           []listed
	Ended              int
}

func (o *operated) post(action, body string) (l listed) {
	o.t.Helper()
	status, answer := o.ask("POST", "/session/"+action, body, isJSON)
	if status != http.StatusOK {
		o.t.Fatalf("%s %s: %d %s", action, body, status, answer)
	}
	if err := json.Unmarshal([]byte(answer), &l); err != nil {
		o.t.Fatalf("%s: %v", answer, err)
	}
	return l
}

func TestAdminAPI(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	for store, option := range map[string]string{
		"memory": storeOption("memory"), "embedded": storeOption("embedded " + t.TempDir() + "/s.db"), "redis": inRedis(redis),
	} {
		t.Run(store, func(t *testing.T) {
			o := serveOperated(t, option, "session {\n\trealm staff\n\trecord client\n}\nreverse_proxy "+a.host())
			first := o.get("/?set=user%3Dalice%26card%3D4111", "", "User-Agent: phone").cookie()
			if first == "" {
				eventually(t, "the store is there", func() bool {
					first = o.get("/?set=user%3Dalice%26card%3D4111", "", "User-Agent: phone").cookie()
					return first != ""
				})
			}
			second, bob := o.signIn("alice"), o.signIn("bob")
			anonymous := o.get("/?set=lang%3Dfr", "").cookie()

			all := o.post("list", `{}`)
			if len(all.Sessions) != 4 || all.Next != "" {
				t.Errorf("all: %+v", all)
			}
			for _, query := range []string{`{"subject":"alice"}`, `{"subject":"alice","realm":"staff"}`} {
				l := o.post("list", query)
				if len(l.Sessions) != 2 || l.Sessions[0].Subject != "alice" || l.Sessions[0].Realm != "staff" || l.Sessions[0].LastSeen == "" {
					t.Errorf("%s: %+v", query, l)
				}
			}
			if l := o.post("list", `{"subject":"alice","realm":"other"}`); len(l.Sessions) != 0 {
				t.Errorf("of another realm: %+v", l)
			}
			// Page by page.
			seen := map[string]bool{}
			for q := `{"limit":1}`; q != ""; {
				l := o.post("list", q)
				for _, s := range l.Sessions {
					seen[s.ID] = true
				}
				if q = ""; l.Next != "" {
					q = fmt.Sprintf(`{"limit":1,"cursor":%q}`, l.Next)
				}
			}
			if len(seen) != 4 {
				t.Errorf("page by page: %v", seen)
			}

			id := sessionID(first)
			_, shown := o.ask("POST", "/session/show", `{"id":"`+id+`"}`, isJSON)
			for _, want := range []string{`"id":"` + id, `"subject":"alice"`, `"client":{"ip":"127.0.0.1","user_agent":"phone"}`, `"sign_in_client":{`, `"cookie":"csid"`, `"encrypted":true`} {
				if !strings.Contains(shown, want) {
					t.Errorf("no %s in %s", want, shown)
				}
			}
			_, list := o.ask("POST", "/session/list", `{}`, isJSON)
			for _, secret := range []string{"4111", first[strings.Index(first, ".")+1:], "verifier"} {
				if strings.Contains(shown, secret) || strings.Contains(list, secret) {
					t.Errorf("%s is shown: %s %s", secret, shown, list)
				}
			}

			if n := o.post("end", `{"subject":"alice","realm":"staff","except":"`+id+`"}`).Ended; n != 1 {
				t.Errorf("%d ended", n)
			}
			for cookie, live := range map[string]bool{first: true, second: false, bob: true, anonymous: true} {
				if r := o.get("/", cookie); strings.Contains(r.body, "version=1 ") != live {
					t.Errorf("live %v: %s", live, r.body)
				}
			}
			if n := o.post("end", `{"id":"`+id+`"}`).Ended; n != 1 {
				t.Errorf("%d ended", n)
			}
			if status, answer := o.ask("POST", "/session/end", `{"id":"`+id+`"}`, isJSON); status != http.StatusNotFound {
				t.Errorf("again: %d %s", status, answer)
			}
			if n := o.post("end", `{"all":true}`).Ended; n != 2 {
				t.Errorf("%d ended", n)
			}
			if l := o.post("list", `{}`); len(l.Sessions) != 0 {
				t.Errorf("all are ended: %+v", l)
			}
			if store == "memory" {
				return
			}
			status, stats := o.ask("GET", "/session/stats", "")
			if status != http.StatusOK || !strings.Contains(stats, `"up":true`) || !strings.Contains(stats, `"open_connections":0`) ||
				store == "embedded" && !strings.Contains(stats, `"live_sessions":0`) {
				t.Errorf("stats: %d %s", status, stats)
			}
		})
	}
}

// A remembered session has no idle limit, and still the operator sees that it is
// used, by the API and the command.
func TestLastSeenOfRemembered(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	for store, option := range map[string]string{
		"memory": storeOption("memory"), "embedded": storeOption("embedded " + t.TempDir() + "/s.db"), "redis": inRedis(redis),
	} {
		t.Run(store, func(t *testing.T) {
			o := serveOperated(t, option, "session {\n\ttouch 1s\n}\nreverse_proxy "+a.host())
			cookie := ""
			eventually(t, "somebody is signed in", func() bool {
				cookie = o.get("/?set=user%3Dalice&control=max-age%3D864000", "").cookie()
				return cookie != ""
			})
			id := sessionID(cookie)
			show := `{"id":"` + id + `"}`
			first := o.post("show", show)
			if first.LastSeen == "" || first.LastSeen < first.Created {
				t.Errorf("at first: %+v", first)
			}
			var now listed
			eventually(t, "the session was seen again", func() bool {
				o.get("/", cookie)
				now = o.post("show", show)
				return now.LastSeen > first.LastSeen
			})
			if now.Deadline != first.Deadline {
				t.Errorf("it ended by %s, now by %s", first.Deadline, now.Deadline)
			}
			out, errs, _ := o.command("list", "--user", "alice")
			if row := strings.Fields(out[strings.LastIndex(out, id):]); len(row) < 9 || strings.Contains(strings.Join(row[:9], " "), " - ") {
				t.Errorf("listed: %s%s", out, errs)
			}
		})
	}
}

func TestAdminAPIRefuses(t *testing.T) {
	o := serveOperated(t, storeOption("memory"), "session\nrespond ok")
	id := strings.Repeat("A", 22)
	for _, test := range []struct {
		method, target, body, line string
		want                       int
	}{
		{"GET", "/session/list", "", isJSON, 405},
		{"DELETE", "/session/end", `{"all":true}`, isJSON, 405},
		{"POST", "/session/stats", "", isJSON, 405},
		{"POST", "/session/end", `{"all":true}`, "Content-Type: text/plain", 415},
		{"POST", "/session/end", `{"all":true}`, "Content-Type: application/x-www-form-urlencoded", 415},
		{"POST", "/session/end", `{"all":true}`, "X: y", 415},
		{"POST", "/session/end", `{}`, isJSON, 400},
		{"POST", "/session/end", `{"all":true,"subject":"alice"}`, isJSON, 400},
		{"POST", "/session/end", `{"id":"` + id + `","except":"` + id + `"}`, isJSON, 400},
		{"POST", "/session/end", `{"id":"../x"}`, isJSON, 400},
		{"POST", "/session/end", `{"all":true} {}`, isJSON, 400},
		{"POST", "/session/end", `{"everything":true}`, isJSON, 400},
		{"POST", "/session/end", `{"realm":"x"}`, isJSON, 400},
		{"POST", "/session/list", `{"limit":1001}`, isJSON, 400},
		{"POST", "/session/list", `{"limit":-1}`, isJSON, 400},
		{"POST", "/session/list", `{"all":true}`, isJSON, 400},
		{"POST", "/session/list", `{"subject":"` + strings.Repeat("x", 1<<17) + `"}`, isJSON, 400},
		{"POST", "/session/show", `{}`, isJSON, 400},
		{"POST", "/session/show", `{"id":"` + id + `"}`, isJSON, 404},
		{"POST", "/session/other", `{}`, isJSON, 404},
		{"GET", "/session/", "", isJSON, 404},
	} {
		if status, answer := o.ask(test.method, test.target, test.body, test.line); status != test.want || !strings.HasPrefix(answer, `{"error":`) {
			t.Errorf("%s %s %.60s: %d %s", test.method, test.target, test.body, status, answer)
		}
	}
	// What Caddy does for all of its API: a page of another site.
	if status, _ := o.ask("POST", "/session/end", `{"all":true}`, isJSON, "Origin: https://evil.example"); status != http.StatusForbidden {
		t.Errorf("from another origin: %d", status)
	}
	raw := &server{t: t, addr: o.admin}
	r := raw.raw("POST /session/end HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"all\":true}")
	if !strings.HasPrefix(r, "HTTP/1.1 403 ") {
		t.Errorf("to another host (DNS rebinding): %q", r)
	}
	s := serve(t, "admin "+o.admin, "respond ok")
	if status, answer := (&operated{s, o.admin}).ask("GET", "/session/stats", ""); status != http.StatusNotFound || !strings.Contains(answer, "has no sessions") {
		t.Errorf("without sessions: %d %s", status, answer)
	}
}

// The names of users are nowhere in what Caddy logs about its API.
func TestAdminAPILogs(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("memory"), "session {\n\trealm staff\n}\nreverse_proxy "+a.host())
	id := sessionID(o.signIn("wilhelmina"))
	o.command("list", "--user", "wilhelmina")
	o.command("end-user", "wilhelmina", "--realm", "staff")
	if log := o.logged("/session/end"); len(log) == 0 {
		t.Error("the API is not logged")
	}
	for _, line := range o.logged("wilhelmina") {
		if !strings.Contains(line, "upstream roundtrip") { // at DEBUG, with the headers to the application
			t.Errorf("logged: %s", line)
		}
	}
	if o.logged(`"level":"info"`, "session ended", id, `"event":"ended"`) == nil {
		t.Error("the end of the session is not logged")
	}
}
