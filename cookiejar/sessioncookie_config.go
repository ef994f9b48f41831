package cookiejar

import "strings"

// Cookie is the configuration of one session cookie. The zero value is a good
// one: a cookie of the very host, for all its paths, gone when the browser is
// closed, Secure and with a __Host- name wherever the request came over HTTPS.
// The cookie is HttpOnly always.
//
// Compile makes a SessionCookie of it.
type Cookie struct {
	// The cookie's name. "auto", the default, stands for __Host-sid where the
	// cookie is Secure (__Secure-sid if a domain or path is set) and for sid
	// where it is not. A name that begins with one of the prefixes __Secure-,
	// __Http-, __Host- and __Host-Http- makes the cookie Secure, as browsers
	// would refuse it otherwise.
	Name string `json:"name,omitempty"`

	// The domain with whose subdomains the cookie is shared. Default: none; the
	// cookie belongs to the host of the request alone. A leading dot is
	// ignored.
	Domain string `json:"domain,omitempty"`

	// The path under which the browser sends the cookie. Default: "/".
	Path string `json:"path,omitempty"`

	// When the browser sends the cookie with requests that other sites cause:
	// "lax" (the default), with links followed only; "strict", never; "none",
	// always, which makes the cookie Secure.
	SameSite string `json:"same_site,omitempty"`

	// Whether the cookie is sent over HTTPS only: "auto" (the default) if the
	// request came over HTTPS; "on" always; "off" never.
	Secure string `json:"secure,omitempty"`

	// Whether a third-party cookie is kept apart for each top-level site
	// (CHIPS). It makes the cookie Secure.
	Partitioned bool `json:"partitioned,omitempty"`

	// Which cookies the browser drops first when it has too many: "low",
	// "medium" or "high". Default: the browser's, which is medium.
	Priority string `json:"priority,omitempty"`

	// Whether the cookie outlives the browser's closing. If so, the caller is
	// to give SetLine the time that the session has left.
	Persistent bool `json:"persistent,omitempty"`

	// Whether it ends, if it outlives the browser's closing, when the session
	// does that is not used any more, rather than at the session's deadline. It
	// implies Persistent.
	PersistentIdle bool `json:"persistent_idle,omitempty"`
}

func (c Cookie) autoName() bool { return c.Name == "" || c.Name == "auto" }

// path returns the path to which the cookie belongs.
func (c Cookie) path() string {
	if c.Path == "" {
		return "/"
	}
	return c.Path
}

// domain returns the Domain in canonical form, or "" for none.
func (c Cookie) domain() string {
	if c.Domain == "" {
		return ""
	}
	domain, _ := CanonicalHost(strings.TrimPrefix(c.Domain, "."))
	return domain
}

// needsSecure returns what makes the cookie Secure whatever the request, in
// words for an error message, or "" for nothing.
func (c Cookie) needsSecure() string {
	switch {
	case c.SameSite == "none":
		return "same_site none"
	case c.Partitioned:
		return "partitioned"
	case hasPrefixFold(c.Name, "__Host-"): // __Host-Http- too
		return "a name that begins with __Host-"
	case hasPrefixFold(c.Name, "__Secure-"):
		return "a name that begins with __Secure-"
	case hasPrefixFold(c.Name, "__Http-"):
		return "a name that begins with __Http-"
	}
	return ""
}

// hasPrefixFold reports whether s begins with prefix in any case: so user
// agents compare name prefixes (RFC 6265bis 5.4).
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
