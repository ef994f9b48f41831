package cookiejar

import "sync"

// What [Rules.KeepHTTPOnly] keeps has names that nobody has written down, and a
// request does not say who has set its cookies. So a keeper remembers which names
// the application has set HttpOnly: these are not believed any more when clients
// send them. It learns them from responses, and from the jars of sessions, which
// other keepers or this one before a restart have filled.

// httpOnlyNames are the names that were set HttpOnly, by host: what the application
// of one host does is no rule for that of another.
//
// Nothing is ever forgotten to make room for others: visitors of an application
// that makes up names could have the name of the session id forgotten like that.
type httpOnlyNames struct {
	mu    sync.RWMutex
	hosts map[string]map[string]struct{} // folded
	total int
}

// The bounds of httpOnlyNames.
const (
	maxHTTPOnlyNames = 10000
	maxNamesOfHost   = 500
)

// has reports whether clients of host can't choose what the application reads under
// a name, as decodeName returns it. It allocates nothing for names of a usual
// length: this runs for every cookie of every request.
func (n *httpOnlyNames) has(host, name string) bool {
	var room [64]byte
	folded := appendFolded(room[:0], name)
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, ok := n.hosts[host][string(folded)]
	return ok
}

// learn adds a name, and returns false if there is no room for it.
func (n *httpOnlyNames) learn(host, name string) bool {
	name = decodeName(name)
	if n.has(host, name) {
		return true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	names, folded := n.hosts[host], foldCookie(name)
	if _, ok := names[folded]; ok { // by now
		return true
	}
	switch {
	case len(name) > maxCookieName, n.total >= maxHTTPOnlyNames, len(names) >= maxNamesOfHost:
		return false
	case n.hosts == nil:
		n.hosts = map[string]map[string]struct{}{}
	}
	if names == nil {
		names = map[string]struct{}{}
		n.hosts[host] = names
	}
	names[folded] = struct{}{}
	n.total++
	return true
}

// byAttribute reports whether what becomes of a cookie depends on its being
// HttpOnly: no rule has its name.
func (k *Keeper) byAttribute(name string) bool {
	return k.httpOnly != nil && k.table.ruleFor(name) == nil
}

// isHeld reports whether a name, as decodeName returns it, is one that was set
// HttpOnly on the request's host, or is in the session's jar as such.
func (k *Keeper) isHeld(name string, c Context, in Incoming) bool {
	return k.httpOnly != nil && (k.httpOnly.has(c.Host, name) || in.unlearned != nil && in.unlearned[foldCookie(name)])
}

// wasHTTPOnly reports whether a name that no rule has was set HttpOnly on a host.
func (k *Keeper) wasHTTPOnly(hostport, name string) bool {
	if !k.byAttribute(name) {
		return false
	}
	host, ok := CanonicalHost(hostport)
	return ok && k.httpOnly.has(host, decodeName(name))
}

// learnJar learns from the jar of the request's session.
func (r *receiver) learnJar(all []jarCookie) {
	for i := range all {
		one := &all[i]
		if one.host != r.context.Host || !one.httpOnly || !r.byAttribute(one.name) || r.httpOnly.learn(one.host, one.name) {
			continue
		}
		if r.in.unlearned == nil {
			r.in.unlearned = map[string]bool{}
		}
		r.in.unlearned[foldCookie(decodeName(one.name))] = true
	}
}

// isHTTPOnly reports whether a Set-Cookie line has the attribute, whatever else is
// wrong with it.
func isHTTPOnly(line string) bool {
	for a := range attributesOf(line) {
		if a.is("HttpOnly") {
			return true
		}
	}
	return false
}
