package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// Prometheus itself reads our metrics and our alert rules and answers the
// queries of the dashboard.
func TestPrometheus(t *testing.T) {
	prometheus := need.Program(t, "prometheus")
	a := app(t, func(w http.ResponseWriter, r *http.Request) {
		scripted(w, r)
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	})
	dir, addr := t.TempDir(), freeAddr(t)
	o := serveOperated(t, probedFile(dir+"/sessions.db"), "session\nreverse_proxy "+a.host())
	writeFile(t, dir+"/alerts.yml", repoFile(t, "monitoring/alerts.yml"), 0o600)
	writeFile(t, dir+"/prometheus.yml", fmt.Sprintf(`
global:
  scrape_interval: 250ms
  evaluation_interval: 250ms
rule_files: [alerts.yml]
scrape_configs:
  - job_name: caddy
    static_configs:
      - targets: ["%s"]
`, o.admin), 0o600)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(prometheus, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+addr)
	cmd.Stdout, cmd.Stderr = log, log
	if err := lifeline.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("Prometheus says\n%s", text)
		}
	})
	ask := func(path string, answer any) error {
		r, err := http.Get("http://" + addr + path)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		return json.NewDecoder(r.Body).Decode(answer)
	}
	type vector struct {
		Status, Error string
		Data          struct{ Result []json.RawMessage }
	}
	query := func(expr string) vector {
		t.Helper()
		var v vector
		if err := ask("/api/v1/query?query="+url.QueryEscape(expr), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	begin := time.Now()
	eventually(t, "Prometheus has our metrics", func() bool {
		var v vector
		return ask("/api/v1/query?query=caddy_session_store_up", &v) == nil && len(v.Data.Result) == 1
	})

	// Something of everything happens between two scrapes.
	cookie := o.signIn("alice")
	o.get("/", cookie)
	time.Sleep(600 * time.Millisecond)
	cookie = o.signIn("alice")
	o.get("/?set=a%3Db", cookie)
	o.get("/?set=nonsense", cookie)
	o.get("/", cookie[:len(cookie)-2]+"AA")
	storeDown(t)
	o.get("/?set=a%3Db", "")
	const moved = `rate(caddy_session_control_errors_total{reason="malformed"}[1m]) > 0`
	eventually(t, "Prometheus has seen it", func() bool {
		return len(query(moved).Data.Result) > 0 && len(query("caddy_session_store_up == 0").Data.Result) > 0
	})

	// The rules are evaluated, and those whose case has come wait for their time.
	var rules struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	state := map[string]string{}
	eventually(t, "the rules are evaluated", func() bool {
		if err := ask("/api/v1/rules", &rules); err != nil || len(rules.Data.Groups) != 1 {
			t.Fatalf("%v %+v", err, rules)
		}
		for _, rule := range rules.Data.Groups[0].Rules {
			if state[rule.Name] = rule.State; rule.Health == "err" {
				t.Fatalf("rule %s: %s", rule.Name, rule.LastError)
			}
		}
		return state["SessionStoreDown"] == "pending" && state["SessionsNotSaved"] == "pending" && state["SessionHeadersRefused"] == "pending"
	})
	if len(state) != 5 {
		t.Errorf("%d rules: %v", len(state), state)
	}

	if *dashboardTraffic > 0 {
		const early = 15 * time.Second // before what is drawn, since rates are over some time
		visits(t, o, early+*dashboardTraffic)
		begin = time.Now().Add(-*dashboardTraffic)
	}
	picture := readDashboard(t).draw(t, begin, time.Now(), ask)
	if *dashboardTraffic > 0 && !t.Failed() {
		writeFile(t, "../"+dashboardPicture, picture, 0o644)
	}
}
