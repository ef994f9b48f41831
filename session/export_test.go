package session

import (
	"net/http"
	"testing"
	"time"
)

// Inject is Manager.Inject for what does not depend on the time or the request.
func (p *Protocol) Inject(h http.Header, s *Session) error { return p.inject(h, s, time.Time{}, "") }

// StretchCommits gives each commit of a test a minute.
func StretchCommits(t *testing.T) {
	commitBound = time.Minute
	t.Cleanup(func() { commitBound = commitTimeout })
}

// IDSize is the length of an id.
const IDSize = idSize

// IndexKey returns the key of a subject's index entries.
func IndexKey(realm, subject string) string { return indexKey(realm, subject) }

// Renew returns a token with the same id and a new secret.
func (t Token) Renew() Token { return t.renew() }

// TTL returns how long the store keeps a session that is used now.
func (p Policy) TTL(now, deadline time.Time, remembered bool) time.Duration {
	return p.ttl(now, now, deadline, remembered)
}

// Replaced reports whether a stored value is a tombstone.
func Replaced(value []byte) bool { return isTombstone(value) }
