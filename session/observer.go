package session

import "go.uber.org/zap"

// Observer hears what happens to sessions. The zero Observer hears nothing.
type Observer struct {
	// Log gets what an operator may want to read. It holds no secrets. nil
	// discards it.
	Log *zap.Logger

	// Count is called for each event, possibly on several goroutines at once.
	// It may be nil.
	Count func(Event)

	// Notify is told what has become of sessions, possibly on several
	// goroutines at once, when it has been done and before the response goes
	// out. So it must not block. It may be nil.
	Notify func(Notice)
}

// Notice says what has become of one session. It carries no data and no names.
type Notice struct {
	// Event is one of [EventCreated], [EventRenewed], [EventReplaced],
	// [EventDestroyed], [EventRevoked], [EventEvicted], [EventAmbiguous],
	// [EventEnded], and [EventForged], of which at most one a second is told.
	Event Event

	// ID is the session's. After [EventReplaced], it is no more, and Next is the
	// id of the session in its place.
	ID, Next string

	// Epoch is that of the session after [EventRenewed], else 0: what was opened
	// in an earlier one was opened with a secret that is dead.
	Epoch uint64
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
