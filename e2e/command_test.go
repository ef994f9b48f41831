package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/need"
)

// What docs/operations.md says of the command, to the letter: two clients sign in, the
// operator looks, and ends what the user has.
func TestCommandRun(t *testing.T) {
	a, ended := webSocketApp(t, "", func() {})
	o := serveOperated(t, storeOption("embedded "+filepath.Join(t.TempDir(), "sessions.db")), "session {\n\trecord client\n}\nreverse_proxy "+a.host())
	laptop := o.get("/?set=user%3Dalice", "", "User-Agent: Firefox on a laptop").cookie()
	phone := o.get("/?set=user%3Dalice", "", "User-Agent: a phone \u202e").cookie()
	bob := o.signIn("bob")
	r, ws, _ := o.upgrade(laptop, webSocketKey)
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r.Status)
	}

	out, errs, status := o.command("list", "--user", "alice")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if status != 0 || errs != "" || len(lines) != 3 || !strings.HasPrefix(lines[0], "ID ") {
		t.Fatalf("list: %d %s%s", status, out, errs)
	}
	for _, want := range []string{sessionID(laptop), sessionID(phone), "alice", "127.0.0.1 Firefox on a laptop", "a phone"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if strings.ContainsRune(out, 0x202e) || strings.Contains(out, laptop[len(laptop)-20:]) {
		t.Errorf("unfit for a terminal: %q", out)
	}

	out, _, status = o.command("show", sessionID(phone))
	if status != 0 || !regexp.MustCompile(`(?m)^Signed in: +20\d\d-`).MatchString(out) || !strings.Contains(out, "Client at sign-in:   127.0.0.1 a phone") {
		t.Errorf("show: %d\n%s", status, out)
	}

	start := time.Now()
	out, errs, status = o.command("end-user", "alice")
	if status != 0 || out != "2 sessions ended\n" || errs != "" {
		t.Errorf("end-user: %d %s%s", status, out, errs)
	}
	t.Logf("WebSocket closed %v after the command was started", closes(t, "the WebSocket", ws, start))
	hangUp(t, ended)
	for cookie, user := range map[string]string{laptop: "", phone: "", bob: "bob"} {
		if r := o.get("/", cookie); !strings.HasPrefix(r.body, "user="+user+" ") {
			t.Errorf("%q, want user %s", r.body, user)
		}
	}

	out, _, status = o.command("stats")
	for _, want := range []string{`store +embedded, up`, `live sessions +1`, `commits: created +\d`, `commits: ended +\d`, `requests: live +\d`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("stats: %d, no %s in\n%s", status, want, out)
		}
	}
}

func TestCommand(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("memory"), "session {\n\trealm staff\n}\nreverse_proxy "+a.host())
	ids := make([]string, 5)
	for i := range ids {
		ids[i] = sessionID(o.signIn("alice"))
	}
	for !strings.HasPrefix(ids[0], "-") { // as one in 64 does
		if status, answer := o.ask("POST", "/session/end", `{"id":"`+ids[0]+`"}`, isJSON); status != http.StatusOK {
			t.Fatal(answer)
		}
		ids[0] = sessionID(o.signIn("alice"))
	}
	none := strings.Repeat("A", 22)
	for _, test := range []struct {
		args      []string
		status    int
		out, errs string // regular expressions for all of it
		lines     int    // of the output; -1: any
	}{
		{[]string{"list"}, 0, `(?s)^ID .*staff`, `^$`, 6},
		{[]string{"list", "--json"}, 0, `^{"id":"[\w-]{22}","subject":"alice"`, `^$`, 5},
		{[]string{"list", "--user", "bob"}, 0, `^ID .*\n$`, `^$`, 1},
		{[]string{"list", "--user", "alice", "--realm", "staff", "--limit", "2"}, 0, `^ID`, `more than 2 sessions`, 3},
		{[]string{"list", "--limit", "-1"}, 1, `^$`, `negative`, 0},
		{[]string{"list", "surplus"}, 1, ``, ``, -1},
		{[]string{"show"}, 1, `^$`, `session show ID`, 0},
		{[]string{"show", "--nonsense"}, 1, ``, `nonsense`, -1},
		{[]string{"end", "--help"}, 0, `--all`, `^$`, -1},
		{[]string{"show", ids[0]}, 0, `(?s)^ID: +` + ids[0] + `.*User: +alice.*Realm: +staff`, `^$`, -1},
		{[]string{"show", ids[0], "--json"}, 0, `^{"id":"` + ids[0], `^$`, 1},
		{[]string{"show", none}, 4, `^$`, none + ": there is no session with this id", 0},
		{[]string{"show", "x"}, 1, `^$`, `an id has 22 characters`, 0},
		{[]string{"end"}, 1, `^$`, `session end --all`, 0},
		{[]string{"end", "--all", ids[0]}, 1, `^$`, `session end --all`, 0},
		{[]string{"end", none}, 4, `^$`, `there is no session`, 0},
		{[]string{"nonsense"}, 1, ``, `unknown command "nonsense"`, -1},
		{[]string{"end", none, ids[4]}, 4, `^1 session ended\n$`, none + `: there is no session`, 1},
		{[]string{"end", ids[0]}, 0, `^1 session ended\n$`, `^$`, 1},
		{[]string{"end-user", ""}, 1, `^$`, `empty`, 0},
		{[]string{"end-user", "nobody"}, 0, `^0 sessions ended\n$`, `^$`, 1},
		{[]string{"end-user", "alice", "--realm", "staff", "--except", ids[1], "--json"}, 0, `^{"ended":2}\n$`, `^$`, 1},
		{[]string{"stats", "--json"}, 0, `^{"store":"memory","up":true,`, `^$`, 1},
		{[]string{"version"}, 0, `^(v\d+\.\d+\.\d+.*|\(devel\))\n$`, `^$`, 1},
		{[]string{"version", "--json"}, 0, `^{"version":"`, `^$`, 1},
		{[]string{"schema"}, 0, `(?s)^-- .*CREATE TABLE IF NOT EXISTS caddy_session \(.*GRANT [A-Z, ]+ ON caddy_session, caddy_session_user TO "caddy";\nCOMMIT;\n$`, `^$`, -1},
		{[]string{"schema", "--help"}, 0, `(?s)their owner.*psql.*--adapter`, `^$`, -1},
		{[]string{"end", "--all"}, 0, `^1 session ended\n$`, `^$`, 1},
		{[]string{"--help"}, 0, `(?s)admin API.*Exit status.*end-user.*stats`, `^$`, -1},
		{[]string{"end-user", "--help"}, 0, `(?s)signs the user out everywhere.*--except`, `^$`, -1},
	} {
		out, errs, status := o.command(test.args...)
		if status != test.status || !regexp.MustCompile(test.out).MatchString(out) || !regexp.MustCompile(test.errs).MatchString(errs) ||
			test.lines >= 0 && strings.Count(out, "\n") != test.lines {
			t.Errorf("%q: status %d, want %d\n%s---\n%s", test.args, status, test.status, out, errs)
		}
	}

	// The address of the API out of a configuration file.
	config := filepath.Join(t.TempDir(), "Caddyfile")
	writeFile(t, config, "{\n\tadmin "+o.admin+"\n}\n", 0o600)
	o.admin = ""
	if out, errs, status := o.command("stats", "--json", "--config", config); status != 0 || !strings.HasPrefix(out, "{") {
		t.Errorf("with --config: %d %s%s", status, out, errs)
	}
	o.admin = freeAddr(t)
	if _, errs, status := o.command("stats"); status != 1 || !strings.Contains(errs, "refused") {
		t.Errorf("nobody listens: %d %s", status, errs)
	}
}

// What visitors choose reaches a terminal in ASCII: no control character of C1, no
// turning of the direction, and no character outside of the basic plane.
func TestCommandJSONIsASCII(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("memory"), "session {\n\trecord client\n}\nreverse_proxy "+a.host())
	const user = "Zo\u00eb \u009b31m \u202e\U0001F600 <b>\u007f"
	quoted, err := json.Marshal(map[string]string{"user": user})
	if err != nil {
		t.Fatal(err)
	}
	o.get("/?set="+url.QueryEscape(strings.ReplaceAll(string(quoted), "\x7f", `\u007f`)), "", "User-Agent: \u009b2J\u2066")
	list, _, _ := o.command("list", "--json")
	show, _, _ := o.command("show", regexp.MustCompile(`[\w-]{22}`).FindString(list), "--json")
	_, api := o.ask("POST", "/session/list", "{}", isJSON)
	for name, text := range map[string]string{"list": list, "show": show, "the admin API": api} {
		if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 || !strings.Contains(text, `Zo\u00eb \u009b31m \u202e\ud83d\ude00 <b>\u007f`) {
			t.Errorf("%s: not ASCII, or not the name: %q", name, text)
		}
	}
	var first struct{ Subject string }
	if err := json.Unmarshal([]byte(list), &first); err != nil || first.Subject != user {
		t.Errorf("%q, %v", first.Subject, err)
	}
	// What the help tells to do keeps it so.
	help, _, _ := o.command("--help")
	if strings.Contains(help, "jq -r") || !strings.Contains(help, "jq --ascii-output ") {
		t.Errorf("a pipeline that unquotes:\n%s", help)
	}
}

// Many sessions are ended a thousand at a time, which is told.
func TestCommandProgress(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("memory"), "session\nreverse_proxy "+a.host())
	for range 1001 {
		o.signIn("alice")
	}
	out, errs, status := o.command("end", "--all")
	if status != 0 || out != "1001 sessions ended\n" || !strings.Contains(errs, "1000 sessions ended so far ...\n") {
		t.Errorf("%d %s%s", status, out, errs)
	}
}

func TestListModules(t *testing.T) {
	out, _, status := caddyCommand(t, "list-modules", "--skip-standard")
	for _, name := range []string{"admin.api.session", "session", "http.handlers.session", "http.handlers.session_set", "http.handlers.session_unset",
		"http.handlers.session_destroy", "http.handlers.session_renew", "http.handlers.session_label", "http.matchers.session", "session.stores.embedded", "session.stores.memory", "session.stores.redis"} {
		if status != 0 || !strings.Contains("\n"+out, "\n"+name+"\n") {
			t.Errorf("no %s in\n%s", name, out)
		}
	}
}

// The console blocks of docs/operations.md, to the letter, but for ids and times,
// which are other ones.
func TestDocsOperations(t *testing.T) {
	blocks := regexp.MustCompile("(?sm)^```console\n(.*?)^```$").FindAllStringSubmatch(repoFile(t, "docs/operations.md"), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d console blocks", len(blocks))
	}
	a, ended := webSocketApp(t, "", func() {})
	o := serveOperated(t, storeOption("memory"), "session {\n\trealm app.example.com\n\trecord client\n}\nreverse_proxy "+a.host())
	bob := o.signIn("bob")

	cookies := []string{
		o.get("/?set=user%3Dalice", "", "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0").cookie(),
		o.get("/?set=user%3Dalice", "", "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1").cookie(),
	}
	r, ws, _ := o.upgrade(cookies[0], webSocketKey)
	if r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(r.Status)
	}
	signedIn := func(cookie, user string) {
		t.Helper()
		if r := o.get("/", cookie); !strings.HasPrefix(r.body, "user="+user+" ") {
			t.Errorf("%q, want user %s", r.body, user)
		}
	}
	for _, cookie := range cookies {
		signedIn(cookie, "alice")
	}
	// It is counted when its handler runs, and no more when that has ended.
	const open = "caddy_session_open_connections"
	eventually(t, "the WebSocket is counted", func() bool { return value(o.series(), open, "store=memory") == 1 })
	before := o.series()
	start := time.Now()
	runConsole(t, o, blocks[0][1], "")
	closes(t, "the WebSocket", ws, start)
	hangUp(t, ended)
	for _, cookie := range cookies {
		signedIn(cookie, "")
	}
	signedIn(bob, "bob")
	eventually(t, "the WebSocket is not counted any more", func() bool { return value(o.series(), open, "store=memory") == 0 })
	const commits = "caddy_session_commits_total"
	if got := value(o.series(), commits, "outcome=ended") - value(before, commits, "outcome=ended"); got != 2 {
		t.Errorf("%v sessions are counted as ended, want 2", got)
	}

	s := serve(t, "admin "+o.admin+"\n"+storeOption("memory"), "session {\n\trealm app.example.com\n}\nreverse_proxy "+a.host())
	runConsole(t, o, blocks[1][1], sessionID(s.signIn("alice")))
}

// runConsole runs the commands of a console block, with id for the ids in them,
// and compares what they print.
func runConsole(t *testing.T, o *operated, block, id string) {
	t.Helper()
	idPattern := regexp.MustCompile(`[\w-]{22}`)
	vague := func(text string) string {
		text = regexp.MustCompile(`(app\.example\.com +)(?:app\.example\.com|127\.0\.0\.1) `).ReplaceAllString(text, "${1}HOST ")
		for pattern, name := range map[string]string{
			`"bytes":\d+`: "bytes", `20\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?`: "TIME", `\b\d+\.\d+\.\d+\.\d+\b`: "IP",
			`"scope":{[^}]*}`: "scope", ` +`: " ",
		} {
			text = regexp.MustCompile(pattern).ReplaceAllString(text, name)
		}
		lines := strings.Split(strings.TrimSpace(idPattern.ReplaceAllString(text, "ID")), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
		line, want, _ := strings.Cut(part, "\n")
		var got string
		if args, ok := strings.CutPrefix(line, "caddy session "); ok {
			got, _, _ = o.command(strings.Fields(args)...)
		} else {
			line = strings.ReplaceAll(line, "localhost:2019", o.admin)
			if id != "" {
				line = idPattern.ReplaceAllString(line, id)
			}
			need.Program(t, "curl")
			cmd := exec.Command(need.Program(t, "bash"), "-c", strings.Replace(line, "curl", "curl --silent --show-error", 1))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			got = string(out)
		}
		if vague(got) != vague(want) {
			t.Errorf("%s prints\n%s\nand docs/operations.md says\n%s", line, got, want)
		}
	}
}
