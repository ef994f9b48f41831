package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// An operator tells by label and host whose session it is, where the application
// signs in with cookies of its own, and finds it so; the application sees nothing
// of that.
func TestLabels(t *testing.T) {
	a := app(t, cookieApp)
	admin := freeAddr(t)
	o := &operated{&server{t: t, addr: freeAddr(t), log: newLogFile(t)}, admin}
	_, port, _ := net.SplitHostPort(o.addr)
	if err := o.try("admin "+admin+"\n"+storeOption("memory"), fmt.Sprintf(`http://shop.example:%[1]s, http://wiki.example:%[1]s {
	session {
		cookies {
			keep *
		}
	}
	@signed_in not path /away /say
	session_label @signed_in "{cookie.UserName} {cookie.UserID}"
	session_label /away ""
	session_label /say {query.label}
	reverse_proxy %[2]s
}`, port, a.host())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caddy.Stop() })
	cookies := map[string]string{}
	for _, one := range []struct{ host, name, then string }{
		{"shop.example", "Alice", "/"}, {"wiki.example", "alice", "/"}, {"wiki.example", "", "/"},
		{"shop.example", "Mallory", "/say?label=%1B[2J%20%20%20%20%E2%80%AEBob%09%0A7"},
	} {
		cookie := o.at(one.host, setting("UserName="+one.name+"; Path=/", "UserID=7; Path=/"), "").cookie()
		for range 2 { // the label comes with the first one, and a version would be seen by the second
			r := o.at(one.host, one.then, cookie)
			if version := a.last().Header.Get("X-Session-Version"); version != "1" || r.cookie() != "" || !strings.Contains(r.body, "UserID=7") {
				t.Errorf("%+v: version %s, %q", one, version, r.raw)
			}
		}
		cookies[one.host+one.name] = cookie
	}

	for _, tt := range []struct {
		args  []string
		lines int // of the list
	}{
		{nil, 4},
		{[]string{"--host", "shop.example"}, 2},
		{[]string{"--host", "WIKI.Example."}, 2},
		{[]string{"--host", "example"}, 0},
		{[]string{"--label", "ALICE 7"}, 2},
		{[]string{"--label", "alice", "--host", "wiki.example"}, 1},
		{[]string{"--label", "7"}, 4},
		{[]string{"--label", "bob"}, 1},
		{[]string{"--user", "alice"}, 0}, // a label is nobody's identity
		{[]string{"--user", "alice", "--realm", "wiki.example", "--label", "alice"}, 0},
	} {
		out, errs, status := o.command(append([]string{"list"}, tt.args...)...)
		if status != 0 || strings.Count(out, "\n") != tt.lines+1 {
			t.Errorf("list %q: %d\n%s%s", tt.args, status, out, errs)
		}
		for _, r := range out {
			if r != '\n' && r < ' ' || r > '~' && r != '\ufffd' {
				t.Errorf("unfit for a terminal: %q", out)
			}
		}
	}
	id := sessionID(cookies["wiki.examplealice"])
	if out, _, _ := o.command("show", id); !regexp.MustCompile(`(?m)^Host: +wiki\.example\nLabel: +alice 7$`).MatchString(out) {
		t.Errorf("show:\n%s", out)
	}
	var shown struct {
		Label string
		Scope struct{ Host string }
	}
	if _, answer := o.ask("POST", "/session/show", `{"id":"`+id+`"}`, isJSON); json.Unmarshal([]byte(answer), &shown) != nil || shown.Label != "alice 7" || shown.Scope.Host != "wiki.example" {
		t.Errorf("the admin API: %s", answer)
	}
	var page struct{ Sessions []json.RawMessage }
	if _, answer := o.ask("POST", "/session/list", `{"label":"Alice","host":"shop.example"}`, isJSON); json.Unmarshal([]byte(answer), &page) != nil || len(page.Sessions) != 1 {
		t.Errorf("the admin API: %s", answer)
	}
	// Nobody is ended by what a visitor may have chosen.
	for _, body := range []string{`{"all":true,"label":"alice"}`, `{"label":"alice"}`, `{"subject":"alice","host":"shop.example"}`, `{"id":"` + id + `","label":"x"}`} {
		if status, answer := o.ask("POST", "/session/end", body, isJSON); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}

	mallory, _, _ := o.command("list", "--label", "bob")
	if want := "\ufffd[2J \ufffdBob 7  -\n"; !strings.HasSuffix(mallory, want) {
		t.Errorf("no %q in\n%q", want, mallory)
	}

	o.at("wiki.example", "/away", cookies["wiki.examplealice"])
	if out, _, _ := o.command("list", "--label", "alice"); strings.Count(out, "\n") != 2 {
		t.Errorf("a label that was taken away is found:\n%s", out)
	}
}
