package session

import (
	"context"
	"errors"
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ender ends sessions, and tells of it and of all else that happens to them. It
// is what Manager and Operator share.
type ender struct {
	store  certain
	log    *zap.Logger
	count  func(Event)
	notify func(Notice)
}

func newEnder(store Store, o Observer) ender {
	e := ender{store: certain{store}, log: o.Log, count: o.Count, notify: o.Notify}
	if e.log == nil {
		e.log = zap.NewNop()
	}
	if e.count == nil {
		e.count = func(Event) {}
	}
	if e.notify == nil {
		e.notify = func(Notice) {}
	}
	return e
}

// end deletes a session whatever its version. It is no error if there is none.
func (e *ender) end(ctx context.Context, id string) error {
	if err := e.store.remove(ctx, id, 0); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("ending session %s: %w", id, err)
	}
	return nil
}

// unindex removes the index entry of a deleted session. It fails silently: an
// entry without its session costs a look-up until its deadline and nothing else.
func (e *ender) unindex(ctx context.Context, id, key string) {
	if err := e.store.Unindex(ctx, key, id); err != nil {
		e.log.Debug("removing index entry", zap.String("session", id), zap.Error(err))
	}
}

// ended counts, logs and tells the end of a session. signedIn: somebody was
// signed in.
func (e *ender) ended(event Event, id string, signedIn bool) {
	e.count(event)
	if line := e.line("session ended", signedIn); line != nil {
		line.Write(zap.String("session", id), zap.String("event", string(event)))
	}
	e.notify(Notice{Event: event, ID: id})
}

// maxEndedLines bounds the log lines about sessions that end together.
const maxEndedLines = 20

// endedTogether is ended for several sessions. Of more than maxEndedLines there is one log
// line, which has their number. key is the index key that they share, "" if they need not
// share one.
func (e *ender) endedTogether(event Event, key string, ids []string, signedIn bool) {
	if len(ids) <= maxEndedLines {
		for _, id := range ids {
			e.ended(event, id, signedIn)
		}
		return
	}
	if line := e.line("sessions ended", signedIn); line != nil {
		subject := zap.Skip()
		if key != "" {
			subject = zap.String("subject_hash", key)
		}
		line.Write(zap.Int("sessions", len(ids)), zap.String("event", string(event)), subject)
	}
	for _, id := range ids {
		e.count(event)
		e.notify(Notice{Event: event, ID: id})
	}
}

// line begins a log line about what is in the order of things, nil if nobody
// wants it: at level INFO where users sign in and out, and at DEBUG about
// visitors, who may be robots.
func (e *ender) line(message string, signedIn bool) *zapcore.CheckedEntry {
	if signedIn {
		return e.log.Check(zapcore.InfoLevel, message)
	}
	return e.log.Check(zapcore.DebugLevel, message)
}
