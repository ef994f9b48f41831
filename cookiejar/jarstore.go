package cookiejar

import (
	"cmp"
	"slices"
	"time"
)

// Ignored is a cookie that was not kept, or is no longer.
type Ignored struct {
	Name   string
	Reason error
}

// Stored is what [StoreKept] makes of a jar.
type Stored struct {
	// Changes is a merge patch (RFC 7396) for the jar, nil if it stays as
	// it is.
	Changes map[string]any
	// Ignored are cookies that user agents would refuse, too.
	Ignored []Ignored
	// Evicted are the names of cookies that had to go for others.
	Evicted []string
}

// StoreKept puts the cookies of a response into a jar, by RFC 6265bis 5.7. jar
// is its JSON text, "" if there is none.
//
// A cookie that is there already is not written again. Nor is one whose expiry
// has merely moved along with the clock: not until it is off by slack, or by a
// quarter of what the cookie has left if that is less. So it can end that much
// earlier than asked, and the store is spared a write for each response of
// applications that set the same cookie with each.
//
// Where there are more than [MaxKept], those that have expired go first, then
// those that were written longest ago. RFC 6265bis takes those read longest ago,
// but to know them, every request would have to write.
func StoreKept(jar string, c Context, set []SetCookie, slack time.Duration) Stored {
	var s Stored
	all := readJar(nil, jar)
	byKey := map[string]int{}
	for i := range all {
		byKey[all[i].key] = i
	}
	changed := map[string]bool{}
	for i, cookie := range set {
		k, err := c.admit(cookie)
		hides := func(other jarCookie) bool { return k.overlays(other) && !other.expired(c.Now) }
		if err == nil && !c.Secure && slices.ContainsFunc(all, hides) {
			err = errOverlay
		}
		if err != nil {
			s.Ignored = append(s.Ignored, Ignored{cookie.Name, err})
			continue
		}
		k.created += int64(i) // they are in order
		at, there := byKey[k.key]
		there = there && all[at].same(&k)
		switch {
		case there && (k.expired(c.Now) || all[at].expired(c.Now)):
			// If it lives, it is a new one: the old should have gone before.
			k.stored = all[at].stored
			all[at] = k
			changed[k.key] = true
		case k.expired(c.Now):
		case there && all[at].isAs(k, c.Now, slack):
		case there:
			k.created, k.stored = all[at].created, all[at].stored
			all[at] = k
			changed[k.key] = true
		default:
			byKey[k.key] = len(all)
			all = append(all, k)
			changed[k.key] = true
		}
	}
	if len(changed) == 0 && len(all) <= MaxKept {
		return s
	}
	s.evict(all, changed, c.Now)
	return s
}

// evict makes the changes, without what is too much.
func (s *Stored) evict(all []jarCookie, changed map[string]bool, now time.Time) {
	slices.SortStableFunc(all, func(a, b jarCookie) int {
		if a.expired(now) != b.expired(now) {
			if a.expired(now) {
				return 1
			}
			return -1
		}
		if a.written != b.written {
			return cmp.Compare(b.written, a.written)
		}
		return cmp.Compare(b.created, a.created)
	})
	changes := map[string]any{}
	for i := range all {
		k := &all[i]
		gone := k.expired(now)
		if !gone && i >= MaxKept {
			gone = true
			s.Evicted = append(s.Evicted, k.name)
		}
		switch {
		case gone && k.stored:
			changes[k.key] = nil
		case !gone && changed[k.key]:
			changes[k.key] = k.record()
		}
	}
	if len(changes) > 0 {
		s.Changes = changes
	}
}

// admit returns what is stored of a cookie that a response to the request sets,
// or why it is refused (RFC 6265bis 5.7).
func (c Context) admit(cookie SetCookie) (jarCookie, error) {
	domain, ok := cookieDomain(c.Host, cookie.Domain)
	switch {
	case !ok:
		return jarCookie{}, errDomain
	case cookie.Secure && !c.Secure:
		return jarCookie{}, errSecure
	case !c.accepts(cookie.SameSite):
		return jarCookie{}, errCrossSite
	}
	k := jarCookie{
		host: c.Host, domain: domain, path: cookie.Path, name: cookie.Name, value: cookie.Value,
		created: c.Now.UnixMicro(), written: c.Now.Unix(),
		secure: cookie.Secure, httpOnly: cookie.HTTPOnly, sameSite: cookie.SameSite,
	}
	if k.path == "" {
		k.path = defaultPath(c.Path)
	}
	if !cookie.Expires.IsZero() {
		k.expires = max(cookie.expiry(), 1)
	}
	k.key = k.jarKey()
	return k, nil
}

// overlays reports whether a cookie from plain HTTP would hide or replace the
// Secure cookie other (RFC 6265bis 5.7, "leave secure cookies alone").
func (k *jarCookie) overlays(other jarCookie) bool {
	return other.secure && other.host == k.host && other.name == k.name && pathMatch(k.path, other.path) &&
		(domainMatch(k.scope(), other.scope()) || domainMatch(other.scope(), k.scope()))
}

func (k *jarCookie) scope() string {
	if k.domain == "" {
		return k.host
	}
	return k.domain
}

// isAs reports whether k need not become next.
func (k *jarCookie) isAs(next jarCookie, now time.Time, slack time.Duration) bool {
	if k.value != next.value || k.secure != next.secure || k.httpOnly != next.httpOnly ||
		k.sameSite != next.sameSite || (k.expires == 0) != (next.expires == 0) {
		return false
	}
	if next.expires == 0 {
		return true
	}
	left := time.Duration(next.expires-now.Unix()) * time.Second
	moved := time.Duration(next.expires-k.expires) * time.Second
	return moved.Abs() <= min(slack, left/4)
}
