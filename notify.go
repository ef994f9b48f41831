package caddysession

import "github.com/caddy-session/caddy-session/session"

// Names of the events for Caddy's events app.
const (
	eventCreated   = "session.created"
	eventRenewed   = "session.renewed"
	eventDestroyed = "session.destroyed"
	eventForged    = "session.forged"
)

// notify is the session.Manager.Notify of all handlers: it closes what was
// opened with a session that is no more, and emits Caddy's events. Their data
// is `id`, and `reason` where a session has ended. A session that gets another
// id is destroyed and created.
func (a *App) notify(n session.Notice) {
	if n.Ends() {
		a.store.open.ended(n.ID)
	}
	switch {
	case n.Event == session.EventReplaced:
		a.emit(eventDestroyed, n.ID, string(n.Event))
		a.emit(eventCreated, n.Next, "")
	case n.Ends():
		a.emit(eventDestroyed, n.ID, string(n.Event))
	case n.Event == session.EventCreated:
		a.emit(eventCreated, n.ID, "")
	case n.Event == session.EventRenewed:
		a.emit(eventRenewed, n.ID, "")
	case n.Event == session.EventForged:
		a.emit(eventForged, n.ID, "")
	}
}

func (a *App) emit(name, id, reason string) {
	if !a.events.ShouldEmit(name) {
		return
	}
	data := map[string]any{"id": id}
	if reason != "" {
		data["reason"] = reason
	}
	a.events.Emit(a.ctx, name, data)
}
