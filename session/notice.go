package session

import (
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Notice says what has become of one session. It carries no data and no names.
type Notice struct {
	// Event is one of EventCreated, EventRenewed, EventReplaced,
	// EventDestroyed, EventRevoked, EventEvicted, EventAmbiguous, EventEnded,
	// and EventForged, of which at most one a second is told.
	Event Event

	// ID is the session's. After EventReplaced, it is no more, and Next is the
	// id of the session in its place.
	ID, Next string
}

// Ends reports whether the session with the ID is no more. Sessions that end
// because their time is up are not noticed by anybody.
func (n Notice) Ends() bool {
	switch n.Event {
	case EventReplaced, EventDestroyed, EventRevoked, EventEvicted, EventAmbiguous, EventEnded:
		return true
	}
	return false
}

// notice tells of something that has happened to a session.
func (m *Manager) notice(e Event, id, next string) {
	if m.Notify != nil {
		m.Notify(Notice{Event: e, ID: id, Next: next})
	}
}

// ended counts, logs and tells the end of a session. signedIn: somebody was
// signed in.
func (m *Manager) ended(e Event, id string, signedIn bool) {
	m.count(e)
	if log := m.logs("session ended", signedIn); log != nil {
		log.Write(zap.String("session", id), zap.String("event", string(e)))
	}
	m.notice(e, id, "")
}

// logs begins a line about what is in the order of things, nil if nobody wants
// it: at level INFO where users sign in and out, and at DEBUG about visitors,
// who may be robots.
func (m *Manager) logs(message string, signedIn bool) *zapcore.CheckedEntry {
	if signedIn {
		return m.Log.Check(zapcore.InfoLevel, message)
	}
	return m.Log.Check(zapcore.DebugLevel, message)
}
