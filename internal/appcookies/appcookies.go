// Package appcookies applies a site's rules for the application's own cookies to
// a request and its response. What the rules mean is in package cookiejar; here
// is what they have to do with the session: kept cookies live in it, sealed and
// signed ones may be bound to it.
package appcookies

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/caching"
	"github.com/caddy-session/caddy-session/internal/logging"
	"github.com/caddy-session/caddy-session/internal/origin"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// jarKey is the key of the session's private object that holds the kept cookies,
// and saltKey that of the salt of their tag.
const (
	jarKey  = "jar"
	saltKey = "salt"
)

// Rules are what a handler does with the application's cookies. A nil *Rules
// leaves them alone.
type Rules struct {
	// Keeper applies the rules.
	Keeper *cookiejar.Keeper
	// Headers are the names of the headers for Incoming.Forward, in its order.
	Headers []string
	// Slack is how far off the expiry of a kept cookie may be: see
	// cookiejar.StoreKept.
	Slack time.Duration
	// Count is told of events.
	Count func(session.Event)
	Log   *zap.Logger

	refused, evicted, over, unlearned logging.Repeated // lines that an application can have repeated
	open                              logging.Once
}

// Shared is what the session handlers of one request share.
type Shared struct {
	// Lines are the Cookie lines as they came, before a handler took the
	// session cookie out.
	Lines []string

	// Names and SharedNames are those that the session cookies of all handlers so
	// far reserve: see cookiejar.SessionCookie.Reserved.
	Names, SharedNames []string

	// rewritten tells that a handler has made the Cookie lines what its rules
	// say: the next one with rules starts from Lines again.
	rewritten bool

	// applied tells that the cookies of the response have gone through the
	// rules of a handler.
	applied bool
}

// Cookies are the application's cookies in one request and its response. A nil
// *Cookies has none: no rules.
//
// The methods are called in the order in which they stand here.
type Cookies struct {
	rules   *Rules
	shared  *Shared
	request *http.Request

	context cookiejar.Context
	in      cookiejar.Incoming
	kept    []cookiejar.SetCookie // by the response
	stored  cookiejar.Stored      // in the session as it was loaded, then as it was committed
	ignored []cookiejar.Ignored
	over    int  // Set-Cookie lines that were removed unseen
	private bool // shared caches must not store the response
	applied bool // by another handler
}

// Enter gives the application the cookies that it is to see: those of the jar in
// s, nil for none, and what the client may send. from is where the request comes
// from, and path that of its URL as the browser has it.
func (r *Rules) Enter(request *http.Request, shared *Shared, s *session.Session, from origin.Origin, path string) *Cookies {
	if r == nil {
		return nil
	}
	if shared.rewritten { // by another handler, before an error or with another matcher
		session.Strip(request.Header, func(name string) bool { return strings.EqualFold(name, "Cookie") })
		if len(shared.Lines) > 0 {
			request.Header["Cookie"] = shared.Lines
		}
		cookiejar.Strip(request.Header, shared.Names...)
		cookiejar.StripTokens(request.Header, session.IsCookie, shared.SharedNames...)
	}
	shared.rewritten, shared.applied = true, false
	path = r.Keeper.StripPath(request.Host, path) // the application sees that one
	c := &Cookies{rules: r, shared: shared, request: request, context: from.CookieContext(path, s != nil)}
	c.context.Now = time.Now()
	jar := ""
	if s != nil {
		c.context.Session = s.ID()
		jar = s.PrivateValue(jarKey)
	}
	c.in = r.Keeper.Receive(request.Header, c.context, jar)
	return c
}

// Show sets the headers of forward lines, and counts what did not verify.
func (c *Cookies) Show() {
	if c == nil {
		return
	}
	for _, one := range c.in.Invalid {
		c.rules.Count(sessionapp.EventCookieInvalid)
		if log := c.rules.Log.Check(zap.DebugLevel, "removing a cookie from a request"); log != nil {
			log.Write(zap.String("name", one.Name), zap.NamedError("reason", one.Reason))
		}
	}
	for i, value := range c.in.Forward {
		if value != nil {
			c.request.Header[c.rules.Headers[i]] = []string{session.EncodeValue(*value)}
		}
	}
}

// Clean removes what browsers must not see from a response that comes to
// nothing, or is a 1xx. own is our Set-Cookie line in it, or "".
func (c *Cookies) Clean(header http.Header, own string) {
	if c != nil {
		c.rules.Keeper.Clean(header, own, c.context, c.in)
	}
}

// Take takes the cookies that are kept out of a final response, and reports
// whether there are any. Keep or Refuse says what becomes of them.
func (c *Cookies) Take(header http.Header, own string) bool {
	if c == nil {
		return false
	}
	if c.applied = c.shared.applied; c.applied {
		return false
	}
	c.shared.applied = true
	c.context.Now = time.Now()
	taken := c.rules.Keeper.Take(header, own, c.context, c.in)
	for _, name := range taken.Open {
		c.rules.open.Log(c.rules.Log.Info, "a kept cookie is not HttpOnly: if scripts need it, pass it", name, logging.Request(c.request, c.context.Path), zap.String("name", name))
	}
	for _, name := range taken.Unlearned {
		c.rules.unlearned.Log(c.rules.Log.Warn, "the application sets cookies of too many names HttpOnly to remember them all: clients can send those that are not remembered; write the names that matter into keep", c.context.Path, logging.Request(c.request, c.context.Path), zap.String("name", name))
	}
	c.kept, c.ignored, c.over, c.private = taken.Kept, taken.Ignored, taken.Over, taken.Lines > 0
	return len(c.kept) > 0
}

// Refuse ignores what was taken.
func (c *Cookies) Refuse(reason error) {
	for _, cookie := range c.kept {
		c.ignored = append(c.ignored, cookiejar.Ignored{Name: cookie.Name, Reason: reason})
	}
}

// Keep adds what was taken to what is committed on s; patch may be nil. Where the
// session has these cookies already, there is nothing to commit.
func (c *Cookies) Keep(patch *session.Patch, s *session.Session) *session.Patch {
	var private []byte
	if s != nil {
		private = s.Private()
	}
	changes, stored := c.edit(private)
	c.stored = stored.(cookiejar.Stored)
	// A patch may empty the jar first, or change a session that has another
	// jar by now.
	if changes != nil || s != nil && patch != nil && patch.Writes() {
		if patch == nil {
			patch = new(session.Patch)
		}
		patch.Edit = c.edit
	}
	return patch
}

// edit is the [session.Patch.Edit] of what was taken.
func (c *Cookies) edit(private []byte) (changes map[string]any, stored any) {
	s := cookiejar.StoreKept(session.PrivateValue(private, jarKey), c.context, c.kept, c.rules.Slack)
	if s.Changes != nil {
		changes = map[string]any{jarKey: s.Changes}
		if session.PrivateValue(private, saltKey) == "" {
			changes[saltKey] = rand.Text()
		}
	}
	return changes, s
}

// Send makes the other cookies of a final response what the browser is to see.
// result is what became of the patch.
func (c *Cookies) Send(header http.Header, own string, result session.Result) {
	if c == nil || c.applied {
		return
	}
	if stored, ok := result.Edited.(cookiejar.Stored); ok {
		c.stored = stored
	}
	if c.context.Session = ""; result.Session != nil {
		c.context.Session = result.Session.ID()
	}
	// A cookie that nobody asked for must not get into a cache.
	again := c.in.Stale() && !caching.Shareable(header) && !caching.FromCache(header)
	ignored, added := c.rules.Keeper.Send(header, c.context, c.in, own, again)
	for range added {
		c.rules.Count(sessionapp.EventCookieReissued)
	}
	c.private = c.private || added > 0
	for range c.over {
		c.rules.Count(sessionapp.EventCookieIgnored)
	}
	if c.over > 0 {
		c.rules.over.Log(c.rules.Log.Warn, "ignoring cookies that the application sets: the response has too many", c.context.Path, logging.Request(c.request, c.context.Path),
			zap.Int("ignored", c.over), zap.Int("most", cookiejar.MaxSetCookie))
	}
	for _, one := range append(append(c.stored.Ignored, c.ignored...), ignored...) {
		c.rules.Count(sessionapp.EventCookieIgnored)
		c.rules.refused.Log(c.rules.Log.Warn, "ignoring a cookie that the application sets", c.context.Path+"\n"+one.Name+"\n"+one.Reason.Error(), logging.Request(c.request, c.context.Path),
			zap.String("name", one.Name), zap.NamedError("reason", one.Reason))
	}
	for _, name := range c.stored.Evicted {
		c.rules.Count(sessionapp.EventCookieEvicted)
		c.rules.evicted.Log(c.rules.Log.Warn, "a session has more cookies than it may keep: removing the one written longest ago", c.context.Path, logging.Request(c.request, c.context.Path),
			zap.String("name", name), zap.Int("most", cookiejar.MaxKept))
	}
}

// Tag returns the tag of the kept cookies in s, nil for no session: see
// cookiejar.Tag. Without rules it is "".
func (c *Cookies) Tag(s *session.Session) string {
	if c == nil || s == nil {
		return ""
	}
	return cookiejar.Tag(s.PrivateValue(jarKey), s.PrivateValue(saltKey), time.Now())
}

// RememberedUntil is the [session.Policy.RememberedUntil] of kept cookies.
func RememberedUntil(private []byte, now time.Time) time.Time {
	return cookiejar.PersistentUntil(session.PrivateValue(private, jarKey), now)
}

// Private reports whether the response must not get into shared caches, because
// a cookie was taken out of it or added to it.
func (c *Cookies) Private() bool { return c != nil && c.private }

// StripTrailers removes cookies that come as trailers: user agents ignore them
// there, but they would be seen.
func (r *Rules) StripTrailers(header http.Header) {
	if r == nil {
		return
	}
	session.StripList(header, "Trailer", isSetCookie)
	session.Strip(header, func(name string) bool {
		name, ok := strings.CutPrefix(name, http.TrailerPrefix)
		return ok && isSetCookie(name)
	})
}

func isSetCookie(name string) bool { return strings.EqualFold(name, "Set-Cookie") }
