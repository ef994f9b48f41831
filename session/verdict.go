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
	verdictCorrupt   verdict = iota // the value is no record, or its body does not open
	verdictCut                      // the value is cut off where more is needed
	verdictNewer                    // the value may be a record of a later release
	verdictForged                   // another secret
	verdictElsewhere                // the secret, but of another realm, or of a scope that browsers send here, too
	verdictStale                    // a secret before the last renewal, which was just now
	verdictReplaced                 // a secret of a session that was replaced just now
	verdictExpired                  // the secret, but the deadline has passed
	verdictLive                     // the secret, in time
)

// staleFor is how long a secret from before a renewal or replacement is told from
// a forged one: parallel requests are still on their way with it.
const staleFor = time.Minute

// openRecord decides what a token is worth at a site under a policy, and opens the record for it.
// Only a live session is for use. One that has expired or is of elsewhere has no
// data. All others are nil. The error says what is wrong with a value that is
// corrupt or newer.
//
// The expiry of the session is left for the caller to set.
func openRecord(value []byte, t Token, site Site, policy Policy, now time.Time) (*Session, verdict, error) {
	return openPrefix(value, false, t, site, policy, now)
}

// openPrefix is openRecord for a value that may be cut off. The data of a session that
// comes of that is unread, and more than may be forwarded under the policy.
func openPrefix(value []byte, cut bool, t Token, site Site, policy Policy, now time.Time) (*Session, verdict, error) {
	r, header, body, err := decodeRecord(value)
	if err != nil {
		if cut { // whatever it is, all of it says so
			return nil, verdictCut, nil
		}
		if errors.Is(err, errNewer) {
			return nil, verdictNewer, err
		}
		return nil, verdictCorrupt, err
	}
	if r.scope != site.Scope && !r.scope.overlaps(site.Scope) {
		return nil, verdictForged, nil
	}
	v := r.judge(t, now)
	here := r.scope == site.Scope && r.realm == site.Realm
	if v == verdictForged || v != verdictLive && here {
		return nil, v, nil
	}
	s := &Session{token: t, record: r, ends: policy.deadline(&r)}
	switch {
	case v != verdictLive:
		return s, verdictElsewhere, nil
	case !now.Before(s.ends):
		return s, verdictExpired, nil
	}
	if cut {
		// Sealed data is longer than what it seals.
		if !r.parted || len(body) <= r.split+sealOverhead+policy.Exposed {
			return nil, verdictCut, nil
		}
		s.unread, err = true, s.openPrivate(t, header, body)
	} else {
		err = s.openBody(t, header, body)
	}
	if err != nil {
		return nil, verdictCorrupt, err
	}
	if !here {
		s.data, s.private = nil, nil
		return s, verdictElsewhere, nil
	}
	return s, verdictLive, nil
}

// judge says what a token's secret is to the record, wherever it is presented:
// live, stale, replaced or forged.
func (r *record) judge(t Token, now time.Time) verdict {
	if !r.replaced && equal(t.verifier(r.scope, r.form()), r.verifier) {
		return verdictLive
	}
	if now.Sub(r.renewed) >= staleFor {
		return verdictForged
	}
	old := t.verifier(r.scope, forOld)
	for _, one := range r.old {
		switch {
		case !equal(old, one):
		case r.replaced:
			return verdictReplaced
		default:
			return verdictStale
		}
	}
	return verdictForged
}

// equal takes the same time wherever two verifiers differ.
func equal(a, b [sha256.Size]byte) bool {
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
