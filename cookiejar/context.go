package cookiejar

import "time"

// Context is what decides which cookies go with a request, and which ones its
// response may set.
type Context struct {
	Host   string // canonical; "" if the request's has no such form
	Path   string // of the URL as the user agent has it, percent-encoded
	Secure bool   // came over HTTPS

	// CrossSite tells that another site has caused the request; TopLevel that
	// it is what a browser's address bar shows next; Safe that its method is.
	CrossSite, TopLevel, Safe bool

	Session string // the id of the session, "" without one
	Now     time.Time
}

// sends reports whether a cookie goes with the request, by its SameSite
// (RFC 6265bis 5.8.3).
func (c Context) sends(s SameSite) bool {
	return !c.CrossSite || s == SameSiteNone || s != SameSiteStrict && c.TopLevel && c.Safe
}

// accepts reports whether the response may set a cookie, by its SameSite
// (RFC 6265bis 5.7).
func (c Context) accepts(s SameSite) bool {
	return !c.CrossSite || s == SameSiteNone || c.TopLevel
}
