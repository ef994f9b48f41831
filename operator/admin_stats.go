package operator

import (
	"context"

	"github.com/caddy-session/caddy-session/sessionapp"
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

func adminStats(_ context.Context, app *sessionapp.App, _ adminQuery) (any, error) {
	store := app.StoreStatus()
	n := adminNumbers{
		Store: app.StoreName(), Up: store.Up, LiveSessions: store.Sessions, OpenConnections: store.Streams,
		Requests: sessionapp.Requests.Totals(), Commits: sessionapp.Commits.Totals(), ControlErrors: sessionapp.ControlErrors.Totals(),
	}
	if stats := store.NearCache; stats != nil {
		n.NearCache = &nearNumbers{Hits: stats.Hits, Misses: stats.Misses}
	}
	return n, nil
}
