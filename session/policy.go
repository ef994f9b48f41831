package session

import (
	"fmt"
	"time"
)

// maxRemember is the longest a session can be remembered: browsers cut the
// life of a cookie at 400 days (RFC 6265bis, section 5.5).
const maxRemember = 400 * 24 * time.Hour

// Policy is how long sessions live and how large they may become. Start from
// [DefaultPolicy]: the zero Policy is not valid.
type Policy struct {
	// Idle ends a session that was not used for this long.
	Idle time.Duration
	// Lifetime ends a session this long after its creation, or after the
	// last time a subject appeared in it.
	Lifetime time.Duration
	// Remember is the most that max-age may ask for.
	Remember time.Duration
	// RememberedUntil, unless it is nil, returns until when a session is to be
	// remembered by what is in its private object, the zero time for not, or not
	// any more at now. A change of that is to a session what max-age is, but
	// that it does not end one before its time.
	RememberedUntil func(private []byte, now time.Time) time.Time
	// Unclaimed ends a session in which nobody is signed in this long after its
	// creation, unless its cookie comes back before: most visitors that take no
	// cookies are robots. It is never more than half of what Idle allows.
	Unclaimed time.Duration
	// Touch is how often at most the store's TTL is extended.
	Touch time.Duration

	// SubjectKey is the path in the data (see [Session.Text]) at which the signed-in
	// user is.
	SubjectKey string
	// MaxSessions is how many sessions a subject may have; 0 is no limit.
	MaxSessions int

	// MaxData is the largest data object in bytes, as it is stored.
	MaxData int
	// Exposed is the most that is forwarded in request headers, in bytes: 60 KiB at
	// most.
	Exposed int

	// Plain stores data readably instead of sealing it.
	Plain bool
}

// DefaultPolicy returns the policy of a configuration that says nothing.
func DefaultPolicy() Policy {
	return Policy{
		Idle:       30 * time.Minute,
		Lifetime:   24 * time.Hour,
		Remember:   30 * 24 * time.Hour,
		Unclaimed:  10 * time.Minute,
		Touch:      time.Minute,
		SubjectKey: "user",
		MaxData:    64 << 10,
		Exposed:    4 << 10,
	}
}

// Validate reports the first setting that makes no sense, and the fix. [NewManager]
// and [NewProtocol] call it.
func (p Policy) Validate() error {
	switch {
	case p.Idle < time.Second:
		return fmt.Errorf("idle %s is too short: give at least 1s", p.Idle)
	case p.Lifetime < p.Idle:
		return fmt.Errorf("lifetime %s is shorter than idle %s: raise lifetime or lower idle", p.Lifetime, p.Idle)
	case p.Lifetime > maxRemember:
		return fmt.Errorf("lifetime %s is more than 400 days, the most that browsers keep a cookie", p.Lifetime)
	case p.Remember < time.Second:
		return fmt.Errorf("remember %s is too short: give at least 1s", p.Remember)
	case p.Remember > maxRemember:
		return fmt.Errorf("remember %s is more than 400 days, the most that browsers keep a cookie", p.Remember)
	case p.Unclaimed < time.Second:
		return fmt.Errorf("unclaimed %s is too short: give at least 1s", p.Unclaimed)
	case p.Touch < 0:
		return fmt.Errorf("touch %s is negative", p.Touch)
	case p.SubjectKey == "" || len(p.SubjectKey) > maxKey:
		return fmt.Errorf("the subject's key must have 1 to %d bytes", maxKey)
	case p.MaxSessions < 0:
		return fmt.Errorf("subject max %d is negative", p.MaxSessions)
	case p.MaxData < 2:
		return fmt.Errorf("max_data %d is too small: the empty object has 2 bytes", p.MaxData)
	case p.MaxData > maxMaxData:
		return fmt.Errorf("max_data %d is more than the %d bytes that a session may hold", p.MaxData, maxMaxData)
	case p.Exposed < 2:
		return fmt.Errorf("exposed %d is too small: the empty object has 2 bytes", p.Exposed)
	case p.Exposed > maxExposed:
		return fmt.Errorf("exposed %d is more than the %d bytes that can be forwarded: forward fewer keys, or ask for fewer request_headers", p.Exposed, maxExposed)
	}
	return nil
}

// maxExposed keeps a header within what Caddy sends of one by FastCGI: it cuts the
// value off there.
const maxExposed = 60 << 10

// maxMaxData bounds max_data, and so what a stored record can make us allocate.
const maxMaxData = 16 << 20

// deadline returns when a session ends at last: at the deadline that it was given,
// or when one that began to count at the same time would end today. So settings
// that were lowered are for sessions that exist, too.
func (p Policy) deadline(r *record) time.Time {
	if r.remembered {
		return earlier(r.deadline, r.since.Add(p.Remember))
	}
	return earlier(r.deadline, r.since.Add(p.Lifetime))
}

// rememberedUntil is RememberedUntil where that may be nil.
func (p Policy) rememberedUntil(private []byte, now time.Time) time.Time {
	if p.RememberedUntil == nil || len(private) == 0 {
		return time.Time{}
	}
	return p.RememberedUntil(private, now)
}

// limits returns until when a session lasts that is not used any more after now,
// and whether that is without the idle limit, for ttl and touchDue. since is when
// the time to that began to count, or now where nothing is to be told by it.
func (p Policy) limits(s *Session, now time.Time) (since, end time.Time, remembered bool) {
	if s.remembered {
		return s.since, s.ends, true
	}
	if until := earlier(p.rememberedUntil(s.private, now), s.since.Add(p.Remember)); until.After(now.Add(p.Idle)) {
		return now, earlier(until, s.ends), true // the record must not stay beyond that
	}
	return s.since, s.ends, false
}

// ttl returns how long the store keeps a session that is used now: Idle, cut
// off at the deadline, which began to count at since. A remembered session has no
// idle limit: its record stays beyond the deadline, which holds without the store,
// so that lastUse can tell when that was. The result is not positive if the deadline
// has passed.
func (p Policy) ttl(now, since, deadline time.Time, remembered bool) time.Duration {
	left := deadline.Sub(now)
	switch {
	case !remembered:
		return min(p.Idle, left)
	case left > 0:
		return left + max(0, now.Sub(since))/useShare
	}
	return left
}

// useShare is which part of the time from since to the last use of a remembered
// session its record stays beyond the deadline: 14 hours of a month. The smaller
// that is, the more an error of the clocks counts: a second is most of a minute.
const useShare = 50

// lastUse returns when a remembered session was last used whose record stays until
// expires, to within Touch. It is zero if that can't be told: nobody has come back
// with the cookie yet, or the site's Remember was lowered.
func lastUse(now, expires time.Time, r *record) time.Time {
	beyond := expires.Sub(r.deadline)
	if beyond < -time.Minute { // which clocks are not wrong by
		return time.Time{}
	}
	return earlier(r.since.Add(max(0, beyond)*useShare), now)
}

// unclaimed returns how long the store keeps a session whose cookie has not come
// back yet, of one that it would keep for ttl. It is so much less that the first
// request with the cookie is due to touch it.
func (p Policy) unclaimed(ttl time.Duration) time.Duration { return min(p.Unclaimed, ttl/2) }

// touchDue reports whether a session that was read with ttl left should get a
// new TTL: it has lost more than Touch (at most a quarter of Idle and of what it
// would get, so that short limits work), or has more than it should, because a
// setting was lowered. Of a remembered session, a use shows by its share only.
func (p Policy) touchDue(now, since, deadline time.Time, remembered bool, ttl time.Duration) bool {
	target := p.ttl(now, since, deadline, remembered)
	if target <= 0 {
		return false
	}
	slack := min(p.Touch, p.Idle/4, target/4)
	if remembered {
		return ttl < target-slack/useShare || ttl > target+slack
	}
	// Stores count in milliseconds, and round up.
	return ttl < target-slack || ttl > target+slack || ttl > p.Idle+time.Millisecond
}
