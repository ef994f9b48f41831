package caddysession

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/session"
)

// The collectors of this process. Caddy has a new registry for every
// configuration, in which they are registered again. No label is an id, a user
// or a host.
var (
	requests     = counter("requests_total", "Requests with sessions, by what their cookie was worth.", "outcome")
	commits      = counter("commits_total", "What responses have done to sessions, by outcome.", "outcome")
	touches      = counter("touches_total", "Uses of sessions that were written to the store.", "outcome")
	cookieCounts = counter("cookies_total", "What has become of the applications' own cookies.", "outcome")
	mistakes     = counter("control_errors_total", "Responses whose session headers were not obeyed, by reason.", "reason")

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
	for _, e := range appcookies.Events {
		counters[e] = cookieCounts.WithLabelValues(string(e))
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
	for _, c := range []prometheus.Collector{requests, commits, touches, cookieCounts, mistakes, operations, recordBytes, (*storeGauges)(store)} {
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// storeGauges collects what a store knows about itself.
type storeGauges sharedStore

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_session_"+name, help, []string{"store"}, nil)
}

var (
	storeUp    = gauge("store_up", "1 if the store answers, 0 if not.")
	liveCount  = gauge("live_sessions", "Sessions in the store, for stores that know. Those that have expired in the last seconds may count.")
	nearHits   = gauge("near_cache_hits_total", "Sessions that were read from memory, for stores that keep them there.")
	nearMisses = gauge("near_cache_misses_total", "Sessions that were not in memory, for stores that keep them there.")
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
	if c, ok := session.As[nearCached](g.measured); ok {
		stats := c.NearCacheStats()
		ch <- prometheus.MustNewConstMetric(nearHits, prometheus.CounterValue, float64(stats.Hits), g.name)
		ch <- prometheus.MustNewConstMetric(nearMisses, prometheus.CounterValue, float64(stats.Misses), g.name)
	}
	ch <- prometheus.MustNewConstMetric(openStream, prometheus.GaugeValue, float64(g.open.len()), g.name)
}

var _ prometheus.Collector = (*storeGauges)(nil)
