package sessionapp

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/nearcache"
)

// Events of the handler, beside those of the engine.
const (
	EventCookieInvalid  session.Event = "cookie_invalid"  // a sealed or signed one that does not verify
	EventCookieIgnored  session.Event = "cookie_ignored"  // one of the application that was refused
	EventCookieEvicted  session.Event = "cookie_evicted"  // a kept one that had to go for others
	EventCookieReissued session.Event = "cookie_reissued" // sent again under a new key

	EventControlMalformed session.Event = "control_malformed" // session headers that can't be read
	EventControlCacheable session.Event = "control_cacheable" // on a response that shared caches may store: it was made private

	EventSetIgnored session.Event = "set_ignored" // a value of a visitor that the site's own session_set would have made too large
)

// EventCounter is a metric that counts events: each with a value of its one label.
type EventCounter struct {
	Name   string // as Prometheus has it
	Label  string
	Values map[session.Event]string // of the label

	vector *prometheus.CounterVec
}

// The counters of this process. Every event is in one of them: documentation,
// dashboards and tests go by this table.
var (
	Requests = newCounter("requests_total", "outcome", "Requests by the outcome of their session cookie.",
		named(session.EventNone, session.EventLive, session.EventMalformed, session.EventExpired, session.EventStale,
			session.EventForged, session.EventAmbiguous, session.EventCorrupt, session.EventStoreError, session.EventElsewhere))

	Commits = newCounter("commits_total", "outcome", "Changes of sessions by their outcome.",
		named(session.EventCreated, session.EventPatched, session.EventRenewed, session.EventReplaced, session.EventDestroyed,
			session.EventRevoked, session.EventEvicted, session.EventEnded, session.EventConflict, session.EventDropped,
			session.EventRefused, session.EventFailed))

	Touches = newCounter("touches_total", "outcome", "Uses of sessions that were to be written to the store, by outcome.",
		named(session.EventTouched, session.EventTouchError))

	Cookies = newCounter("cookies_total", "outcome", "The application's own cookies that were removed, refused or sent again, by outcome.",
		named(EventCookieInvalid, EventCookieIgnored, EventCookieEvicted, EventCookieReissued))

	ControlErrors = newCounter("control_errors_total", "reason", "Responses whose session headers were not obeyed, or that were made private because of them, by reason.",
		map[session.Event]string{
			EventControlMalformed: "malformed",
			EventControlCacheable: "cacheable",
			session.EventCached:   "cached",
		})

	Actions = newCounter("actions_total", "outcome", "Values of requests that the site's own session_set was to set, by outcome.",
		named(EventSetIgnored))

	APIOperations = newCounter("api_operations_total", "operation", "Requests of applications to the session API with a capability that was open, by operation.",
		unprefixed(api.EventRead, api.EventPatch, api.EventPut, api.EventDelete, api.EventRenew, api.EventClear, api.EventTouch,
			api.EventMaxAge, api.EventSessions, api.EventLock))

	APIRequests = newCounter("api_requests_total", "answer", "Requests to the session API by their answer.",
		unprefixed(api.EventOK, api.EventNone, api.EventConflict, api.EventLocked, api.EventRefused, api.EventForbidden, api.EventUnauthorized, api.EventFailed))

	Locks = newCounter("locks_total", "outcome", "Requests that were to get the lock of their session, by the API or because the site says so, by outcome.",
		map[session.Event]string{api.EventLockTaken: "taken", api.EventLockBusy: "busy", api.EventLockGone: "gone", api.EventLockFailed: "failed"})

	EventCounters = []*EventCounter{Requests, Commits, Touches, Cookies, ControlErrors, Actions, APIOperations, APIRequests, Locks}
)

func newCounter(name, label, help string, values map[session.Event]string) *EventCounter {
	opts := prometheus.CounterOpts{Namespace: "caddy", Subsystem: "session", Name: name, Help: help}
	return &EventCounter{
		Name:  prometheus.BuildFQName(opts.Namespace, opts.Subsystem, opts.Name),
		Label: label, Values: values, vector: prometheus.NewCounterVec(opts, []string{label}),
	}
}

// named has events under their own names.
func named(events ...session.Event) map[session.Event]string {
	values := map[session.Event]string{}
	for _, e := range events {
		values[e] = string(e)
	}
	return values
}

// unprefixed has events of the API under what follows the prefix.
func unprefixed(events ...session.Event) map[session.Event]string {
	values := map[session.Event]string{}
	for _, e := range events {
		values[e] = api.Label(e)
	}
	return values
}

// Totals returns what was counted since the process started, by label value.
func (c *EventCounter) Totals() map[string]uint64 {
	totals := map[string]uint64{}
	for _, value := range c.Values {
		var m dto.Metric
		if c.vector.WithLabelValues(value).Write(&m) == nil {
			totals[value] = uint64(m.GetCounter().GetValue())
		}
	}
	return totals
}

// byEvent has the counter of each event. All are there from the start, since
// a rate needs a first value.
var byEvent = func() map[session.Event]prometheus.Counter {
	byEvent := map[session.Event]prometheus.Counter{}
	for _, c := range EventCounters {
		for e, value := range c.Values {
			byEvent[e] = c.vector.WithLabelValues(value)
		}
	}
	return byEvent
}()

func count(e session.Event) { byEvent[e].Inc() }

// The other collectors of this process.
var (
	operations = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "session", Name: "store_operation_seconds",
		Help:    "Duration of store operations, failed ones included.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
	}, []string{"operation", "store"})

	recordBytes = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "session", Name: "record_bytes",
		Help:    "Size of the session records that were written to the store.",
		Buckets: prometheus.ExponentialBuckets(256, 4, 8), // to 4 MiB
	})

	buildInfo = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "session", Name: "build_info",
		Help:        "Always 1; the label has the version of this module.",
		ConstLabels: prometheus.Labels{"version": Version()},
	}, func() float64 { return 1 })

	waitingLocks = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "caddy", Subsystem: "session", Name: "waiting_locks",
		Help: "Requests that wait for the lock of their session.",
	}, func() float64 { return float64(api.Waiting()) })
)

// registerMetrics adds the collectors, and that of the stores, to the registry of
// a configuration: Caddy has a new one for each. No label is an id, a user or a
// host.
func registerMetrics(registry prometheus.Registerer, stores []*sharedStore) error {
	collectors := []prometheus.Collector{operations, recordBytes, buildInfo, waitingLocks, storeGauges(stores)}
	for _, c := range EventCounters {
		collectors = append(collectors, c.vector)
	}
	var already prometheus.AlreadyRegisteredError
	for _, c := range collectors {
		if err := registry.Register(c); err != nil && !errors.As(err, &already) {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// StoreStatus is how a store is doing.
type StoreStatus struct {
	Up        bool             // it answers
	Sessions  *int             // nil if it can't count them
	NearCache *nearcache.Stats // nil if it has none
	Streams   int              // that are open in this process
}

// nearCached is a store with a cache that counts.
type nearCached interface {
	NearCacheStats() nearcache.Stats
}

// status may ask the store, which takes a second at most.
func (s *sharedStore) status() StoreStatus {
	status := StoreStatus{Up: s.measured.isUp(), Streams: s.streams.len()}
	if c, ok := session.As[session.Counter](s.Store); ok {
		n := c.Len()
		status.Sessions = &n
	}
	if c, ok := session.As[nearCached](s.Store); ok {
		stats := c.NearCacheStats()
		status.NearCache = &stats
	}
	return status
}

// storeGauges collects what stores know about themselves: of two with one name, the
// first.
type storeGauges []*sharedStore

func gauge(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("caddy_session_"+name, help, []string{"store"}, nil)
}

var (
	storeUp     = gauge("store_up", "1 if the store answers, 0 if it does not.")
	liveCount   = gauge("live_sessions", "Sessions in the store, if it can count them. Some that expired in the last seconds may be included.")
	nearHits    = gauge("near_cache_hits_total", "Reads of sessions that were answered from memory, if the store has a cache.")
	nearMisses  = gauge("near_cache_misses_total", "Reads of sessions that were not in memory, if the store has a cache.")
	openStreams = gauge("open_connections", "Open WebSockets, event streams, and other requests that last, which are closed when their session ends.")
)

// Describe implements prometheus.Collector.
func (storeGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{storeUp, liveCount, nearHits, nearMisses, openStreams} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g storeGauges) Collect(ch chan<- prometheus.Metric) {
	for i, store := range g {
		if i == 0 || store.name != g[0].name {
			store.collect(ch)
		}
	}
}

func (s *sharedStore) collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, kind prometheus.ValueType, value float64) {
		ch <- prometheus.MustNewConstMetric(desc, kind, value, s.name)
	}
	status := s.status()
	up := 0.0
	if status.Up {
		up = 1
	}
	send(storeUp, prometheus.GaugeValue, up)
	if n := status.Sessions; n != nil {
		send(liveCount, prometheus.GaugeValue, float64(*n))
	}
	if stats := status.NearCache; stats != nil {
		send(nearHits, prometheus.CounterValue, float64(stats.Hits))
		send(nearMisses, prometheus.CounterValue, float64(stats.Misses))
	}
	send(openStreams, prometheus.GaugeValue, float64(status.Streams))
}

var _ prometheus.Collector = storeGauges(nil)
