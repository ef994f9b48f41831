package caddysession

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
)

// The collectors of this process. Caddy has a new registry for every
// configuration, in which they are registered again. No label is an id, a user
// or a host.
var (
	requests = counter("requests_total", "Requests with sessions, by what their cookie was worth.", "outcome")
	commits  = counter("commits_total", "What responses have done to sessions, by outcome.", "outcome")
	touches  = counter("touches_total", "Uses of sessions that were written to the store.", "outcome")
	mistakes = counter("control_errors_total", "Responses whose session headers were not obeyed, by reason.", "reason")

	operations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "session", Name: "store_operation_seconds",
		Help:    "How long operations of the store took, failed ones too.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"operation", "store"})

	recordBytes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "session", Name: "record_bytes",
		Help:    "The sizes of sessions as they were stored.",
		Buckets: prometheus.ExponentialBuckets(256, 4, 8), // to 4 MiB
	})
)

func counter(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "caddy", Subsystem: "session", Name: name, Help: help}, []string{label})
}

// counters has the counter of each event. All are there from the start, since
// a rate needs a first value.
var counters = func() map[session.Event]prometheus.Counter {
	counters := map[session.Event]prometheus.Counter{
		session.EventTouched:    touches.WithLabelValues(string(session.EventTouched)),
		session.EventTouchError: touches.WithLabelValues(string(session.EventTouchError)),
		session.EventCached:     mistakes.WithLabelValues("cached"),
	}
	for _, e := range []session.Event{session.EventNone, session.EventLive, session.EventMalformed, session.EventExpired,
		session.EventStale, session.EventForged, session.EventAmbiguous, session.EventCorrupt, session.EventStoreError} {
		counters[e] = requests.WithLabelValues(string(e))
	}
	for _, e := range []session.Event{session.EventCreated, session.EventPatched, session.EventRenewed, session.EventReplaced,
		session.EventDestroyed, session.EventRevoked, session.EventEvicted, session.EventEnded, session.EventConflict,
		session.EventDropped, session.EventRefused, session.EventFailed} {
		counters[e] = commits.WithLabelValues(string(e))
	}
	return counters
}()

var (
	malformedControl = mistakes.WithLabelValues("malformed")
	cacheableControl = mistakes.WithLabelValues("cacheable")
)

func count(e session.Event) { counters[e].Inc() }

// registerMetrics adds the collectors, and that of a store, to the registry of
// a configuration.
func registerMetrics(registry prometheus.Registerer, store *sharedStore) error {
	var already prometheus.AlreadyRegisteredError
	for _, c := range []prometheus.Collector{requests, commits, touches, mistakes, operations, recordBytes, (*storeGauges)(store)} {
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// measured is a store whose operations are timed.
type measured struct {
	session.Store
	get, put, touch, remove, indexed, unindex, list prometheus.Observer

	up     atomic.Bool  // the last operation was answered
	called atomic.Int64 // when that was, in nanoseconds since 1970
}

// measure wraps a store. name is its module's.
func measure(store session.Store, name string) *measured {
	observer := func(operation string) prometheus.Observer { return operations.WithLabelValues(operation, name) }
	return &measured{
		Store: store, get: observer("get"), put: observer("put"), touch: observer("touch"), remove: observer("delete"),
		indexed: observer("indexed"), unindex: observer("unindex"), list: observer("list"),
	}
}

// Unwrap is for session.As.
func (m *measured) Unwrap() session.Store { return m.Store }

func (m *measured) observe(o prometheus.Observer, start time.Time, err error) {
	end := time.Now()
	o.Observe(end.Sub(start).Seconds())
	m.called.Store(end.UnixNano())
	if errors.Is(err, context.Canceled) {
		return // the caller's own doing
	}
	up := err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) || errors.Is(err, session.ErrNotReplicated)
	// Most of the time it is so already, and reading is cheaper for many CPUs.
	if m.up.Load() != up {
		m.up.Store(up)
	}
}

func (m *measured) Get(ctx context.Context, id string) (session.Entry, error) {
	start := time.Now()
	e, err := m.Store.Get(ctx, id)
	m.observe(m.get, start, err)
	return e, err
}

func (m *measured) Put(ctx context.Context, id string, expect uint64, e session.Entry) error {
	start := time.Now()
	err := m.Store.Put(ctx, id, expect, e)
	m.observe(m.put, start, err)
	if err == nil {
		recordBytes.Observe(float64(len(e.Value)))
	}
	return err
}

func (m *measured) Touch(ctx context.Context, id string, expect uint64, ttl time.Duration) error {
	start := time.Now()
	err := m.Store.Touch(ctx, id, expect, ttl)
	m.observe(m.touch, start, err)
	return err
}

func (m *measured) Delete(ctx context.Context, id string, expect uint64) error {
	start := time.Now()
	err := m.Store.Delete(ctx, id, expect)
	m.observe(m.remove, start, err)
	return err
}

func (m *measured) Indexed(ctx context.Context, key, cursor string, limit int) ([]string, string, error) {
	start := time.Now()
	ids, next, err := m.Store.Indexed(ctx, key, cursor, limit)
	m.observe(m.indexed, start, err)
	return ids, next, err
}

func (m *measured) Unindex(ctx context.Context, key, id string) error {
	start := time.Now()
	err := m.Store.Unindex(ctx, key, id)
	m.observe(m.unindex, start, err)
	return err
}

func (m *measured) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	start := time.Now()
	ids, next, err := m.Store.List(ctx, cursor, limit)
	m.observe(m.list, start, err)
	return ids, next, err
}

// isUp reports whether the store answers, by its last operation if that was
// lately, and by one of its own if not. It takes a second at most.
func (m *measured) isUp() bool {
	const lately = 10 * time.Second
	if time.Since(time.Unix(0, m.called.Load())) > lately {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m.Get(ctx, session.NewToken().ID) // nobody's; the outcome is noted
	}
	return m.up.Load()
}

// storeGauges collects what a store knows about itself.
type storeGauges sharedStore

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_session_"+name, help, []string{"store"}, nil)
}

var (
	storeUp    = gauge("store_up", "1 if the store answers, 0 if not.")
	liveCount  = gauge("live_sessions", "Sessions in the store, for stores that know. Those that have expired in the last seconds may count.")
	nearHits   = gauge("near_cache_hits_total", "Sessions that were read from the near-cache, for stores that have one.")
	nearMisses = gauge("near_cache_misses_total", "Sessions that were not in the near-cache, for stores that have one.")
	openStream = gauge("open_connections", "WebSockets and event streams that end with their session.")
)

// Describe implements prometheus.Collector.
func (*storeGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{storeUp, liveCount, nearHits, nearMisses, openStream} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *storeGauges) Collect(ch chan<- prometheus.Metric) {
	up := 0.0
	if g.measured.isUp() {
		up = 1
	}
	ch <- prometheus.MustNewConstMetric(storeUp, prometheus.GaugeValue, up, g.name)
	if c, ok := session.As[session.Counter](g.measured); ok {
		ch <- prometheus.MustNewConstMetric(liveCount, prometheus.GaugeValue, float64(c.Len()), g.name)
	}
	if c, ok := session.As[*redisstore.NearStore](g.measured); ok {
		stats := c.NearCacheStats()
		ch <- prometheus.MustNewConstMetric(nearHits, prometheus.CounterValue, float64(stats.Hits), g.name)
		ch <- prometheus.MustNewConstMetric(nearMisses, prometheus.CounterValue, float64(stats.Misses), g.name)
	}
	ch <- prometheus.MustNewConstMetric(openStream, prometheus.GaugeValue, float64(g.open.len()), g.name)
}

// Interface guards.
var (
	_ session.Store        = (*measured)(nil)
	_ prometheus.Collector = (*storeGauges)(nil)
)
