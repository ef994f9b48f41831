package session

import (
	"errors"
	"fmt"
	"time"
)

// Session is a live session as one request loaded it. It does not change: a
// commit returns another one. A nil *Session is an anonymous visitor.
type Session struct {
	token Token
	record
	ends    time.Time // the deadline in force: see Policy.deadline
	expires time.Time // when the store forgets it, unless it is touched
	text    string    // the data once more, for sessions that many requests share, else ""
	unread  bool      // the data is not here: see Manager.Whole
}

// ID returns the public id.
func (s *Session) ID() string { return s.token.ID }

// Version returns the number of the last commit that has changed more than the
// label; it only grows.
func (s *Session) Version() uint64 { return s.shownVersion() }

// Label returns what operators see beside the session, empty if there is none. A
// nil s has none.
func (s *Session) Label() string {
	if s == nil {
		return ""
	}
	return s.label
}

// Epoch returns the number of renewals: it tells the secrets of a session apart.
func (s *Session) Epoch() uint64 { return s.epoch }

// Subject returns the signed-in user, empty if there is none.
func (s *Session) Subject() string { return s.subject }

// HasData reports whether there is anything in the data, read or not.
func (s *Session) HasData() bool { return s.unread || len(s.data) > len("{}") }

// Unread reports whether the session was loaded without its data, since that is too
// large to be forwarded, and perhaps nobody asks for it. [Manager.Whole] reads it. Until
// then the methods that look into the data panic: no data would be a lie. A nil s has
// been read.
func (s *Session) Unread() bool { return s != nil && s.unread }

// Data returns the data object: compact ASCII JSON. The caller must not
// change it.
func (s *Session) Data() []byte {
	if s.unread {
		panic(errUnread)
	}
	return s.data
}

var errUnread = errors.New("the data of the session was not read")

// Value returns the JSON text of one top-level key of the data, and whether it is
// there. The caller must not change it.
func (s *Session) Value(key string) ([]byte, bool) { return lookup(s.Data(), key) }

// Private returns the private object as Data does, nil if it is empty.
func (s *Session) Private() []byte { return s.private }

// PrivateValue returns the JSON text of one top-level key of the private object,
// "" if it is not there.
func (s *Session) PrivateValue(key string) string {
	if s == nil {
		return ""
	}
	return PrivateValue(s.private, key)
}

// PrivateValue is [Session.PrivateValue] for what Edit of a [Patch] is given.
func PrivateValue(private []byte, key string) string {
	value, _ := lookup(private, key)
	return string(value)
}

// Created returns when the session began, and Deadline when it ends at last under
// today's policy.
func (s *Session) Created() time.Time  { return s.created }
func (s *Session) Deadline() time.Time { return s.ends }

// SignedIn returns when the user signed in, zero if nobody is signed in.
func (s *Session) SignedIn() time.Time { return s.signedIn }

// Expires returns when the session ends if it is not used any more.
func (s *Session) Expires() time.Time { return earlier(s.expires, s.ends) }

// Remembered reports whether the session has no idle limit: the application asked
// for max-age, or keeps a cookie that lasts longer than the lifetime.
func (s *Session) Remembered() bool { return s.remembered }

// Token returns what the browser's cookie has to carry.
func (s *Session) Token() Token { return s.token }

// Format prints the id under every verb, and neither secret nor data.
func (s Session) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "session %s", s.ID()) }
