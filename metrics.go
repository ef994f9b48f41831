package caddysession

import (
	"errors"

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

// eventCounter registers the counter and returns what counts an event.
func eventCounter(registry prometheus.Registerer) (func(session.Event), error) {
	var already prometheus.AlreadyRegisteredError
	if err := registry.Register(events); err != nil && !errors.As(err, &already) {
		return nil, err
	}
	return func(e session.Event) { events.WithLabelValues(string(e)).Inc() }, nil
}
