package caddysession

import (
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-session/caddy-session/session"
)

func TestEveryEventHasACounter(t *testing.T) {
	source, err := os.ReadFile("session/event.go")
	if err != nil {
		t.Fatal(err)
	}
	ofCookies, err := os.ReadFile("cookies.go")
	if err != nil {
		t.Fatal(err)
	}
	source = append(source, ofCookies...)
	declared := regexp.MustCompile(`Event = "([a-z_]+)"`).FindAllSubmatch(source, -1)
	if all := len(session.Events) + len(cookieEvents); len(declared) != all {
		t.Errorf("%d events are declared, %d are in Events and cookieEvents", len(declared), all)
	}
	for _, match := range declared {
		e := session.Event(match[1])
		if counters[e] == nil {
			t.Errorf("%s has no counter", e)
			continue
		}
		before := gather(t)[string(e)]
		count(e)
		if after := gather(t)[string(e)]; after != before+1 {
			t.Errorf("%s: counted from %v to %v", e, before, after)
		}
	}
}

// gather returns the counts by event, as a new registry has them.
func gather(t *testing.T) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for range 2 { // several handlers share the registry of a configuration
		if err := registerMetrics(registry); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "caddy_session_events_total" {
		t.Fatalf("got %v, %v", families, err)
	}
	counts := map[string]float64{}
	for _, m := range families[0].Metric {
		counts[m.Label[0].GetValue()] = m.Counter.GetValue()
	}
	return counts
}
