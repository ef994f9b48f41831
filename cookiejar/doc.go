// Package cookiejar is everything about cookies on the wire: the session cookie,
// how it is read from a request, kept from the application behind and written to
// a response, and how the host that it belongs to is spelt; and the application's
// own cookies, name by name: kept on the server, sealed, signed, dropped or
// passed. It knows neither Caddy nor sessions: what a well-formed value is, which
// value is a live session, and where a jar is stored, is for the caller to say.
//
// Two configurations compile to what serves requests: [Cookie] to a [SessionCookie],
// and [Rules] to a [Keeper].
//
// Reading order, for the session cookie: sessioncookie_config.go (what one cookie is configured
// to be), sessioncookie_validate.go (which configurations contradict themselves),
// sessioncookie.go (what the cookie looks like), values.go (which values a request
// carries), strip.go (what the application gets to see), setcookie_drop.go (which
// cookies the application may not set), header.go (how both headers are edited),
// host.go (one spelling for every host).
//
// For the application's cookies: rules.go (what becomes of which name),
// rules_validate.go and table.go (which rules contradict each other, and which one
// counts), rules_request.go (what a request looks like then) and rules_response.go (what a
// response does), setcookie_parse.go and date.go (what a Set-Cookie line says), jar.go and
// jarstore.go (the cookies that are kept), context.go and match.go (which go with a
// request), httponly.go (which names are kept for being HttpOnly), wrap.go and
// express.go (sealed and signed values), harden.go (attributes), path.go (ids in URLs
// in place of cookies). Which names servers find in a header is in names.go for both.
//
// Two rules hold the package together. Reading is strict and removing is
// generous: a pair is read only under the exact name, but removed if some server
// would find that name in it (names.go), so a value that [Values] yields never
// outlives [Strip]; likewise a name that some server would take for one of the
// rules' is not believed. And every byte that is not ours leaves as it came.
//
// Sources: RFC 6265bis (draft-ietf-httpbis-rfc6265bis), namely 4.2.1 and 5.8
// for the Cookie header, 5.6 for Set-Cookie, 5.7 for the storage model, 5.4 for
// name prefixes, 5.5 for the longest lifetime, 5.1 for dates, hosts, domains and
// paths; the cookie prefixes __Http- and __Host-Http- from
// draft-ietf-httpbis-layered-cookies; RFC 9110 5.6.2 for tokens; UTS #46 and
// the URL Standard for host names.
package cookiejar
