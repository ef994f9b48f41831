// Package cookiejar is everything about the session cookie on the wire: how it
// is read from a request, kept from the application behind, written to a
// response, and how the host that it belongs to is spelt. It knows neither
// Caddy nor sessions: what a well-formed value is, and which value is a live
// session, is for the caller to say.
//
// Reading order: cookie.go (what one cookie is configured to be, and what it
// looks like), validate.go (which configurations contradict themselves),
// read.go (which values a request carries), strip.go (what the application
// gets to see), setcookie.go (which cookies the application may not set),
// host.go (one spelling for every host).
//
// Two rules hold the package together. Reading is strict and removing is
// generous: a pair is read only under the exact name, but removed under every
// name that some server would take for it, so a value that Values yields never
// outlives Strip. And every byte that is not ours leaves as it came.
//
// Sources: RFC 6265bis (draft-ietf-httpbis-rfc6265bis), namely 4.2.1 and 5.8
// for the Cookie header, 5.6 for Set-Cookie, 5.4 for name prefixes, 5.5 for
// the longest lifetime, 5.1.2 and 5.1.3 for hosts and domains; the cookie
// prefixes __Http- and __Host-Http- from
// draft-ietf-httpbis-layered-cookies; RFC 9110 5.6.2 for tokens; UTS #46 and
// the URL Standard for host names.
package cookiejar
