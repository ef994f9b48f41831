package caddysession

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-session/caddy-session/session"
)

// events counts what happens to sessions, for the whole process. Caddy has a
// new registry for every configuration, in which it is registered again.
var events = prometheus.NewCounterVec(prometheus.CounterOpts{
	Namespace: "caddy",
	Subsystem: "session",
	Name:      "events_total",
	Help:      "What happened to sessions, by kind of event.",
}, []string{"event"})

// counters has the counter of each event. All are there from the start, since
// a rate needs a first value.
var counters = func() map[session.Event]prometheus.Counter {
	counters := map[session.Event]prometheus.Counter{}
	for _, e := range slices.Concat(session.Events, cookieEvents) {
		counters[e] = events.WithLabelValues(string(e))
	}
	return counters
}()

func count(e session.Event) { counters[e].Inc() }

// registerMetrics adds the counter to the registry of a configuration.
func registerMetrics(registry prometheus.Registerer) error {
	var already prometheus.AlreadyRegisteredError
	if err := registry.Register(events); err != nil && !errors.As(err, &already) {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return nil
}
