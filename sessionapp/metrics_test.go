package sessionapp

import (
	"context"
	"errors"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
)

func TestEveryEventHasACounter(t *testing.T) {
	declared := map[session.Event]bool{}
	for _, file := range []string{"../session/event.go", "../api/event.go", "metrics.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile(`Event = "([a-z_]+)"`).FindAllSubmatch(source, -1) {
			declared[session.Event(match[1])] = true
		}
	}
	if len(declared) < 30 {
		t.Errorf("only %d events are declared: the pattern is out of date", len(declared))
	}
	counted := 0
	for _, c := range EventCounters {
		for e := range c.Values {
			if counted++; !declared[e] {
				t.Errorf("%s counts %s, which nobody declares", c.Name, e)
			}
		}
	}
	if counted != len(declared) {
		t.Errorf("%d events are declared, and %d are counted", len(declared), counted)
	}
	store := newSharedStore(memstore.New(), "test", zap.NewNop())
	total := func() (sum float64) {
		for _, n := range gather(t, store) {
			sum += n
		}
		return sum
	}
	for e := range declared {
		if byEvent[e] == nil {
			t.Errorf("%s has no counter", e)
			continue
		}
		before := total()
		count(e)
		if after := total(); after != before+1 {
			t.Errorf("%s: counted from %v to %v", e, before, after)
		}
	}
}

// gather returns the counters by name and label, as a new registry has them.
func gather(t *testing.T, store *sharedStore) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for range 2 {
		if err := registerMetrics(registry, []*sharedStore{store}); err != nil {
			t.Fatal(err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			if m.Counter != nil {
				values[family.GetName()+" "+m.Label[0].GetValue()] = m.Counter.GetValue()
			}
		}
	}
	return values
}

// moody is a store that fails on demand.
type moody struct {
	session.Store
	err error
}

func (m *moody) Get(ctx context.Context, id string) (session.Entry, error) {
	if m.err != nil {
		return session.Entry{}, m.err
	}
	return m.Store.Get(ctx, id)
}

func TestStoreUp(t *testing.T) {
	store := &moody{Store: memstore.New()}
	m := measure(store, "test")
	if !m.isUp() {
		t.Error("a store that nobody has asked is down")
	}
	store.err = errors.New("down")
	if !m.isUp() {
		t.Error("it was asked again at once")
	}
	m.called.Store(time.Now().Add(-time.Minute).UnixNano())
	if m.isUp() {
		t.Error("a store that fails is up")
	}
	store.err = nil
	m.Get(t.Context(), "x")
	if !m.isUp() {
		t.Error("a store that answers is down")
	}
	store.err = context.Canceled
	m.Get(t.Context(), "x")
	if !m.isUp() {
		t.Error("a visitor who hangs up takes it down")
	}
	var _ session.Store = m
	if _, ok := session.As[*moody](session.Store(m)); !ok {
		t.Error("the store can't be found behind its wrapper")
	}
	if _, ok := session.As[session.Notifier](session.Store(m)); ok {
		t.Error("it can do what it can't")
	}
}

func BenchmarkMeasured(b *testing.B) {
	for _, bench := range []struct {
		name  string
		store session.Store
	}{{"bare", memstore.New()}, {"measured", measure(memstore.New(), "bench")}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.store.Get(b.Context(), "x")
			}
		})
	}
}
