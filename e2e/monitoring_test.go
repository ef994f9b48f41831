package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// series are the lines of /metrics of this project: names with their labels.
func (o *operated) series() (series []map[string]string) {
	o.t.Helper()
	status, text := o.ask("GET", "/metrics", "")
	if status != http.StatusOK {
		o.t.Fatalf("/metrics: %d %s", status, text)
	}
	line := regexp.MustCompile(`(?m)^(caddy_session_\w+)(?:\{(.*)\})? (\S+)$`)
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		s := map[string]string{"__name__": m[1], "value": m[3], "instance": "i"}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			s[l[1]] = l[2]
		}
		series = append(series, s)
	}
	return series
}

// value returns the sum of the values with a name and labels "k=v".
func value(series []map[string]string, name string, labels ...string) (sum float64) {
	for _, s := range series {
		ok := s["__name__"] == name
		for _, l := range labels {
			key, want, _ := strings.Cut(l, "=")
			ok = ok && s[key] == want
		}
		if ok {
			var n float64
			fmt.Sscan(s["value"], &n)
			sum += n
		}
	}
	return sum
}

func TestMetrics(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("embedded "+filepath.Join(t.TempDir(), "s.db")), "session\nreverse_proxy "+a.host())
	before := o.series()
	gained := func(name string, labels ...string) float64 {
		return value(o.series(), name, labels...) - value(before, name, labels...)
	}
	o.get("/", "")
	o.get("/", "other=cookie")
	o.get("/", "csid=nonsense")
	o.get("/", "csid="+strings.Repeat("A", 22)+"."+strings.Repeat("A", 43))
	alice := o.signIn("alice")
	o.get("/?set=a%3Db", alice)
	o.get("/", alice[:len(alice)-2]+"AA")
	o.get("/", alice+"; "+o.signIn("alice")+"x") // the second is malformed, the first live
	o.get("/?set=,", alice)
	o.get("/?set=a%3Dc&h.Cache-Control=public", alice)
	o.get("/?set=a%3Dc&h.Age=5", alice)
	renewed := o.get("/?control=renew", alice).cookie()
	o.get("/", alice)
	o.get("/?control=destroy", renewed)
	for _, want := range []struct {
		n      float64
		name   string
		labels []string
	}{
		{4, "requests_total", []string{"outcome=none"}},
		{1, "requests_total", []string{"outcome=malformed"}},
		{1, "requests_total", []string{"outcome=expired"}},
		{1, "requests_total", []string{"outcome=forged"}},
		{1, "requests_total", []string{"outcome=stale"}},
		{7, "requests_total", []string{"outcome=live"}},
		{15, "requests_total", nil},
		{2, "commits_total", []string{"outcome=created"}},
		{2, "commits_total", []string{"outcome=patched"}},
		{1, "commits_total", []string{"outcome=renewed"}},
		{1, "commits_total", []string{"outcome=destroyed"}},
		{1, "commits_total", []string{"outcome=refused"}},
		{1, "control_errors_total", []string{"reason=malformed"}},
		{1, "control_errors_total", []string{"reason=cacheable"}},
		{1, "control_errors_total", []string{"reason=cached"}},
		{5, "store_operation_seconds_count", []string{"operation=put", "store=embedded"}},
		{1, "store_operation_seconds_count", []string{"operation=delete", "store=embedded"}},
		{5, "record_bytes_count", nil},
		{1, "store_up", []string{"store=embedded"}},
		{1, "build_info", nil},
		{1, "live_sessions", []string{"store=embedded"}},
	} {
		got := gained("caddy_session_"+want.name, want.labels...)
		if want.name == "store_up" || want.name == "build_info" || want.name == "live_sessions" {
			got = value(o.series(), "caddy_session_"+want.name, want.labels...)
		}
		if got != want.n {
			t.Errorf("%s %v: %v, want %v", want.name, want.labels, got, want.n)
		}
	}
	// Nothing of visitors.
	_, text := o.ask("GET", "/metrics", "")
	for _, private := range []string{"alice", sessionID(alice), "127.0.0.1"} {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "caddy_session_") && strings.Contains(line, private) {
				t.Errorf("%s stands in %s", private, line)
			}
		}
	}
}

func TestMetricsWhileTheStoreIsDown(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, probed, "session\nreverse_proxy "+a.host())
	cookie := o.signIn("alice")
	storeDown(t)
	before := o.series()
	o.get("/", cookie)
	o.get("/?set=a%3Db", "")
	after := o.series()
	for name, label := range map[string]string{"requests_total": "outcome=store_error", "commits_total": "outcome=failed"} {
		name = "caddy_session_" + name
		if value(after, name, label)-value(before, name, label) != 1 {
			t.Errorf("%s %s did not count", name, label)
		}
	}
	if value(after, "caddy_session_store_up") != 0 {
		t.Error("the store is up")
	}
	if _, stats := o.ask("GET", "/session/stats", ""); !strings.Contains(stats, `"up":false`) {
		t.Errorf("stats: %s", stats)
	}
	if out, errs, status := o.command("stats"); status != 5 || !strings.Contains(out, "down") || !strings.Contains(errs, "the store does not answer") {
		t.Errorf("stats: status %d, %s%s", status, out, errs)
	}
}

// Every metric in the queries of the dashboard and the alert rules is there,
// with the labels and the values that they ask for.
func TestMonitoring(t *testing.T) {
	a := app(t, scripted)
	o := serveOperated(t, storeOption("embedded "+filepath.Join(t.TempDir(), "s.db")), "session\nreverse_proxy "+a.host())
	o.signIn("alice")
	series := o.series()

	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal([]byte(repoFile(t, "monitoring/grafana.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, panel := range dashboard.Panels {
		for i, target := range panel.Targets {
			queries[fmt.Sprintf("panel %s, %d", panel.Title, i+1)] = target.Expr
		}
	}
	rules := repoFile(t, "monitoring/alerts.yml")
	folded := regexp.MustCompile(`expr: >-\n\s+`).ReplaceAllString(rules, "expr: ")
	folded = regexp.MustCompile(`(expr: .*)\n\s+(\(rate)`).ReplaceAllString(folded, "$1 $2")
	alerts := regexp.MustCompile(`(?m)- alert: (\w+)\n\s+expr: (.*)$`).FindAllStringSubmatch(folded, -1)
	for _, alert := range alerts {
		queries["alert "+alert[1]] = alert[2]
	}
	if len(alerts) != 5 || len(dashboard.Panels) < 10 {
		t.Errorf("%d alert rules, %d panels", len(alerts), len(dashboard.Panels))
	}

	asked := map[string]bool{}
	shown := map[[3]string]bool{} // metrics by a label and its value, "" for all
	for where, query := range queries {
		selectors := regexp.MustCompile(`(caddy_session_\w+)(?:\{([^}]*)\})?`).FindAllStringSubmatch(query, -1)
		if len(selectors) != strings.Count(query, "caddy_session_") || len(selectors) == 0 {
			t.Errorf("%s: what is %s", where, query)
		}
		for _, selector := range selectors {
			asked[selector[1]] = true
			for _, c := range sessionapp.EventCounters {
				values := []string{""}
				if only := regexp.MustCompile(c.Label + `=~?"([^"]*)"`).FindStringSubmatch(selector[2]); only != nil {
					values = strings.Split(only[1], "|")
				}
				for _, value := range values {
					shown[[3]string{selector[1], c.Label, value}] = true
				}
			}
			checkSelector(t, where, series, selector[1], selector[2])
		}
		for _, by := range regexp.MustCompile(`by \(([^)]*)\)`).FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(by[1], ",") {
				label = strings.TrimSpace(label)
				if !slices.ContainsFunc(series, func(s map[string]string) bool {
					_, has := s[label]
					return has && s["__name__"] == selectors[0][1]
				}) && !nearCache(selectors[0][1]) {
					t.Errorf("%s: %s has no label %s", where, selectors[0][1], label)
				}
			}
		}
	}
	// And every metric of ours is looked at, in the manual too.
	text := manual(t)
	for _, s := range series {
		name := s["__name__"]
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if !asked[name] && !asked[base+"_bucket"] && base != "caddy_session_build_info" { // which is for people
			t.Errorf("no panel and no alert asks for %s", name)
		}
		if !strings.Contains(text, "\n| `"+base+"` ") {
			t.Errorf("the manual does not know %s", base)
		}
	}
	for _, c := range sessionapp.EventCounters {
		for _, counted := range c.Values {
			if !slices.ContainsFunc(series, func(s map[string]string) bool { return s["__name__"] == c.Name && s[c.Label] == counted }) {
				t.Errorf("%s has no %s=%q before it happens", c.Name, c.Label, counted)
			}
			if !shown[[3]string{c.Name, c.Label, counted}] && !shown[[3]string{c.Name, c.Label, ""}] {
				t.Errorf("no panel and no alert shows %s of %s", counted, c.Name)
			}
			row := "`" + c.Name + "` .*`" + counted + "`" // of the metric
			if c.Label == "outcome" {
				row = "`" + counted + "` "
			}
			if !regexp.MustCompile(`(?m)^\| ` + row).MatchString(text) {
				t.Errorf("the manual does not describe %s of %s", counted, c.Name)
			}
		}
	}
}

// nearCache are metrics of stores that these tests may not have.
func nearCache(name string) bool { return strings.HasPrefix(name, "caddy_session_near_cache_") }

func checkSelector(t *testing.T, where string, series []map[string]string, name, labels string) {
	t.Helper()
	if nearCache(name) {
		return
	}
	matchers := regexp.MustCompile(`(\w+)(=~|=)"([^"]*)"`).FindAllStringSubmatch(labels, -1)
	for _, m := range matchers {
		values := []string{m[3]}
		if m[2] == "=~" {
			values = strings.Split(m[3], "|")
		}
		for _, want := range values {
			if want == "$instance" {
				want = "i"
			}
			if !slices.ContainsFunc(series, func(s map[string]string) bool { return s["__name__"] == name && s[m[1]] == want }) {
				t.Errorf("%s: there is no %s{%s=%q}", where, name, m[1], want)
			}
		}
	}
	if !slices.ContainsFunc(series, func(s map[string]string) bool { return s["__name__"] == name }) {
		t.Errorf("%s: there is no %s", where, name)
	}
}

// Stores are timed by a wrapper, behind which the near-cache has to be found.
func TestMetricsOfNearCache(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	o := serveOperated(t, storeOption("redis "+redis.Addr+" {\n\t\tnear_cache\n\t\ttimeout 5s\n\t}"), "session\nreverse_proxy "+a.host())
	cookie := signInEventually(t, o.server, "alice")
	eventually(t, "a session comes from memory", func() bool {
		o.get("/", cookie)
		return value(o.series(), "caddy_session_near_cache_hits_total", "store=redis") > 0
	})
	if value(o.series(), "caddy_session_near_cache_misses_total", "store=redis") == 0 {
		t.Error("nothing was missed")
	}
	if _, stats := o.ask("GET", "/session/stats", ""); !strings.Contains(stats, `"near_cache":{"hits":`) {
		t.Errorf("stats: %s", stats)
	}
	before := value(o.series(), "caddy_session_store_operation_seconds_count", "operation=get")
	for range 10 {
		o.get("/", cookie)
	}
	if n := value(o.series(), "caddy_session_store_operation_seconds_count", "operation=get") - before; n > 2 {
		t.Errorf("%v reads of the store for 10 requests", n)
	}
}
