package caddysession

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/caddy-session/caddy-session/session"
)

// adminNumbers is the answer of /session/stats. The counts are those of this
// process since it started; all else is about the store.
type adminNumbers struct {
	Store           string            `json:"store"`
	Up              bool              `json:"up"`
	LiveSessions    *int              `json:"live_sessions,omitempty"` // if the store knows
	OpenConnections int               `json:"open_connections"`
	NearCache       *nearNumbers      `json:"near_cache,omitempty"` // if the store has one
	Requests        map[string]uint64 `json:"requests"`
	Commits         map[string]uint64 `json:"commits"`
	ControlErrors   map[string]uint64 `json:"control_errors"`
}

type nearNumbers struct {
	Hits   uint64 `json:"hits"`
	Misses uint64 `json:"misses"`
}

func adminStats(_ context.Context, app *App, _ adminQuery) (any, error) {
	store := app.store
	n := adminNumbers{
		Store: store.name, Up: store.measured.isUp(), OpenConnections: store.open.len(),
		Requests: numbers(requests), Commits: numbers(commits), ControlErrors: numbers(mistakes),
	}
	if c, ok := session.As[session.Counter](store.Store); ok {
		live := c.Len()
		n.LiveSessions = &live
	}
	if c, ok := session.As[nearCached](store.Store); ok {
		stats := c.NearCacheStats()
		n.NearCache = &nearNumbers{Hits: stats.Hits, Misses: stats.Misses}
	}
	return n, nil
}

// numbers returns the values of a counter by its label.
func numbers(v *prometheus.CounterVec) map[string]uint64 {
	ch := make(chan prometheus.Metric, 100) // more than there are outcomes
	v.Collect(ch)
	close(ch)
	values := map[string]uint64{}
	for metric := range ch {
		var m dto.Metric
		if metric.Write(&m) == nil {
			values[m.GetLabel()[0].GetValue()] = uint64(m.GetCounter().GetValue())
		}
	}
	return values
}
