package sessionapp

import (
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

// Names of the events for Caddy's events app.
const (
	eventCreated   = "session.created"
	eventRenewed   = "session.renewed"
	eventDestroyed = "session.destroyed"
	eventForged    = "session.forged"
)

// notify is the session.Observer.Notify of all handlers and the operator: it
// closes what was opened with a session or a secret that is no more, and emits
// Caddy's events. Their data is `id`, and `reason` where a session has ended. A session
// that gets another id is destroyed and created.
func (a *App) notify(n session.Notice) {
	for _, store := range a.stores { // what was opened before is with the old one
		switch {
		case n.Ends():
			store.streams.ended(n.ID)
		case n.Event == session.EventRenewed:
			store.streams.renewed(n.ID, n.Epoch)
		}
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

// emission is an event on its way.
type emission struct {
	name string
	data map[string]any
}

// emissionLimit bounds those that wait for slow handlers.
const emissionLimit = 1024

// emit hands an event over to emitAll. Caddy's events are handled while their
// emitter waits, and here a visitor would wait, and others for the commit lock.
func (a *App) emit(name, id, reason string) {
	if !a.events.ShouldEmit(name) {
		return
	}
	e := emission{name, map[string]any{"id": id}}
	if reason != "" {
		e.data["reason"] = reason
	}
	select {
	case a.emissions <- e:
	default:
		a.lost.Log(a.logger.Warn, "an event is lost: its handlers are too slow", name, zap.String("name", name), zap.String("session", id))
	}
}

// emitAll emits events in the order in which they have happened, until the
// app is cleaned up.
func (a *App) emitAll() {
	for {
		select {
		case e := <-a.emissions:
			a.events.Emit(a.ctx, e.name, e.data)
		case <-a.done:
			return
		}
	}
}
