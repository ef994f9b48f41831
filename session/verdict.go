package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"
)

// verdict is what a token is worth against the stored value under its id. The
// zero verdict lets nobody in.
type verdict int

const (
	verdictCorrupt verdict = iota // the value is no record, or its body does not open
	verdictNewer                  // the value may be a record of a later release
	verdictForged                 // another secret
	verdictStale                  // the secret before the last renewal, which was just now
	verdictExpired                // the secret, but the deadline has passed
	verdictLive                   // the secret, in time
)

// staleFor is how long the secret before a renewal is told from a forged one:
// parallel requests are still on their way with it.
const staleFor = time.Minute

// openRecord decides what a token is worth, and opens the record for it. verifier
// is what the token's secret gives in the scope of the request. Only a live
// session is for use. An expired one has no data. All others are nil. The error
// says what is wrong with a value that is corrupt or newer.
//
// The expiry of the session is left for the caller to set.
func openRecord(value []byte, t Token, verifier [sha256.Size]byte, now time.Time) (*Session, verdict, error) {
	r, header, body, err := decodeRecord(value)
	switch {
	case errors.Is(err, errNewer):
		return nil, verdictNewer, err
	case err != nil:
		return nil, verdictCorrupt, err
	case equal(verifier, r.verifier):
	case now.Sub(r.renewed) < staleFor && equal(verifier, r.oldVerifier):
		return nil, verdictStale, nil
	default:
		return nil, verdictForged, nil
	}
	if !now.Before(r.deadline) {
		return &Session{token: t, record: r}, verdictExpired, nil
	}
	if err := r.openBody(t, header, body); err != nil {
		return nil, verdictCorrupt, err
	}
	return &Session{token: t, record: r}, verdictLive, nil
}

// equal takes the same time wherever two verifiers differ.
func equal(a, b [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
