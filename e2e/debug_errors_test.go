package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// With debug_errors a visitor sees why an answer was refused, as text, if Caddy
// logs at level DEBUG and nothing else makes a page of it.
func TestDebugErrors(t *testing.T) {
	a := app(t, scripted)
	const wrong = "/?set=%7B%22user"
	s := serve(t, storeOption("memory"), "session {\n\tdebug_errors\n}\nreverse_proxy "+a.host())
	for _, test := range []struct {
		target string
		status int
		want   string
	}{
		{wrong, http.StatusBadGateway, `the JSON ends too early`},
		{"/?set=a%3Db&h.Cache-Control=public", http.StatusBadGateway, "shared caches may store it"},
		{"/?set=a%3Db&control=if-version%3D9", http.StatusConflict, "version"},
	} {
		r := s.get(test.target, "")
		if r.StatusCode != test.status || !strings.Contains(r.body, test.want) || !strings.Contains(r.body, "debug_errors") ||
			r.Header.Get("Content-Type") != "text/plain; charset=utf-8" || r.Header.Get("Cache-Control") != "no-store" || r.cookie() != "" {
			t.Errorf("%s: %q", test.target, r.raw)
		}
		noSessionHeaders(t, r.raw)
	}
	if lines := s.logged(`"level":"error"`, "the JSON ends too early"); len(lines) == 0 {
		t.Error("what is shown is not logged")
	}
	if r := s.get("/?status=500", ""); r.StatusCode != http.StatusInternalServerError || strings.Contains(r.body, "debug_errors") {
		t.Errorf("an error of the application: %q", r.raw)
	}

	s.load(storeOption("memory"), "session {\n\tdebug_errors\n}\nreverse_proxy "+a.host()+"\nhandle_errors {\nrespond \"page {err.status_code}\"\n}")
	if r := s.get(wrong, ""); r.StatusCode != http.StatusBadGateway || r.body != "page 502" {
		t.Errorf("with handle_errors: %q", r.raw)
	}
	s.load(storeOption("memory"), "session\nreverse_proxy "+a.host())
	if r := s.get(wrong, ""); r.StatusCode != http.StatusBadGateway || r.body != "" {
		t.Errorf("by default: %q", r.raw)
	}
}

// Outside of debugging the setting does nothing but warn.
func TestDebugErrorsNeedDebug(t *testing.T) {
	a := app(t, scripted)
	s := &server{t: t, addr: freeAddr(t), log: newLogFile(t)}
	for _, debug := range []bool{false, true} {
		option := ""
		if debug {
			option = "debug\n"
		}
		config, err := adapt(fmt.Sprintf("{\nadmin off\npersist_config off\nauto_https off\n%slog {\noutput file %s\n}\nsession {\nstore memory\n}\n}\nhttp://%s {\nsession {\ndebug_errors\n}\nreverse_proxy %s\n}\n",
			option, s.log.path, s.addr, a.host()))
		if err != nil {
			t.Fatal(err)
		}
		if err := caddy.Load(config, true); err != nil {
			t.Fatal(err)
		}
		r := s.get("/?set=%7B%22user", "")
		if shown := r.body != ""; r.StatusCode != http.StatusBadGateway || shown != debug {
			t.Errorf("debug %v: %q", debug, r.raw)
		}
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if lines := s.logged(`"level":"warn"`, "debug_errors does nothing without the global option debug"); len(lines) != 1 {
		t.Errorf("%q", lines)
	}
}
