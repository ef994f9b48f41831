// Package placeholders tells who can write what a placeholder of Caddy shows: the
// visitor, or somebody who may say who is signed in.
package placeholders

import (
	"slices"
	"strings"
)

// Writer is who can write the value of a placeholder.
type Writer int

const (
	// Unknown is whatever the table does not name: placeholders of other
	// modules.
	Unknown Writer = iota
	// Trusted is nobody whom the site does not trust with it.
	Trusted
	// Visitor is everybody who can send a request.
	Visitor
	// Header is the visitor, but for headers that are removed from what
	// clients send.
	Header
	// Cookie is the visitor, but for cookies that are kept, sealed, signed or
	// dropped.
	Cookie
	// Certificate is trusted where the server verifies the certificates of
	// clients, else Unknown.
	Certificate
	// Defined is whoever writes what the site's directives make the placeholder
	// of: vars, map, session_set, and matchers with regular expressions.
	Defined
)

// HeaderPrefix is how the placeholders of request headers begin.
const HeaderPrefix = "http.request.header."

// placeholders is the table: the longest name that fits counts. One that ends
// with a dot is a prefix.
var placeholders = []struct {
	name   string
	writer Writer
	why    string // it says what the value is, after "reads"
}{
	// What has been checked, or can't be chosen.
	{"http.auth.user.", Trusted, "whom an authentication handler, or the session, has let in"},
	{"http.reverse_proxy.", Trusted, "the response of the upstream that handle_response looks at, such as an auth server"},
	{"http.intercept.", Trusted, "the application's response, but for what header makes of it"},
	{"http.response.", Trusted, "the response so far, but for what header makes of it"},
	{"http.request.remote", Trusted, "the address of the connection, which answers arrive at"},
	{"http.request.remote.", Trusted, "the address of the connection, which answers arrive at"},
	{"http.request.remote.host/", Trusted, "the network of the connection's address"},
	{"http.vars.client_ip", Trusted, "the address that Caddy takes from trusted proxies only"},
	{"http.vars.trusted_proxy", Trusted, "Caddy's own finding about the connection"},
	{"http.request.local", Trusted, "the address of the server"},
	{"http.request.local.", Trusted, "the address of the server"},
	{"http.request.uuid", Trusted, "a random number of Caddy"},
	{"http.request.duration", Trusted, "a time that Caddy has measured"},
	{"http.request.duration_ms", Trusted, "a time that Caddy has measured"},
	{"http.error.status_code", Trusted, "Caddy's error"},
	{"http.error.status_text", Trusted, "Caddy's error"},
	{"http.error.id", Trusted, "a random number of Caddy"},
	{"http.shutting_down", Trusted, "the server's state"},
	{"http.time_until_shutdown", Trusted, "the server's state"},

	// The operator's.
	{"env.", Trusted, "the operator's environment"},
	{"file.", Trusted, "the operator's file"},
	{"system.", Trusted, "the machine"},
	{"time.", Trusted, "the clock"},
	{"http.vars.root", Trusted, "the site's root directory"},
	{"http.vars.fs", Trusted, "the site's file system"},

	// The session's. Data is from the application, or from session_set of the
	// site, which is looked at as well.
	{"session.", Trusted, "the session"},
	{"http.session.", Trusted, "the session"},
	{"session.data.", Defined, "data of the session"},
	{"http.session.data.", Defined, "data of the session"},

	// What the site makes of others.
	{"http.vars.", Defined, "a variable"},
	{"http.regexp.", Defined, "what a regular expression has found"},

	// What every client chooses.
	{HeaderPrefix, Header, "a request header, which every client can write"},
	{"http.request.cookie.", Cookie, "a cookie, which every client can write"},
	{"http.request.tls.client.", Certificate, "the client's certificate, which the server may not have verified"},
	{"http.request.uri.query", Visitor, "the query of the request, which every client can write"},
	{"http.request.uri.query.", Visitor, "the query of the request, which every client can write"},
	{"http.request.uri.path", Visitor, "the path of the request, which every client can write"},
	{"http.request.uri.path.", Visitor, "the path of the request, which every client can write"},
	{"http.request.body", Visitor, "the body of the request, which every client can write"},
	{"http.request.host", Visitor, "the host of the request, which every client can write"},
	{"http.request.host.", Visitor, "the host of the request, which every client can write"},
	{"http.request.", Visitor, "the request, which every client can write"},
	{"http.auth.candidate.", Visitor, "whom a client claims to be without proof"},
	{"http.matchers.file.", Visitor, "the path of the request, which every client can write"},
	{"http.url_pattern.", Visitor, "the path of the request, which every client can write"},
	{"http.error.", Visitor, "a message that may quote the request"},
	{"http.vars.trace_id", Visitor, "the traceparent header of the request, which every client can write"},
	{"http.vars.span_id", Visitor, "a tracing header of the request"},
}

// Of returns who can write the value of a placeholder, given without its braces,
// and a phrase that says what it is. The writer of a placeholder that a directive
// of the site has defined under a name of its own choice is Unknown here.
func Of(placeholder string) (writer Writer, what string) {
	longest := -1
	for _, p := range placeholders {
		fits := placeholder == p.name || (strings.HasSuffix(p.name, ".") || strings.HasSuffix(p.name, "/")) && strings.HasPrefix(placeholder, p.name)
		if fits && len(p.name) > longest {
			longest, writer, what = len(p.name), p.writer, p.why
		}
	}
	if longest < 0 {
		return Unknown, "a placeholder of which it can't be told who can write it"
	}
	return writer, what
}

// In returns the placeholders in a text, without their braces: everything that
// [caddy.Replacer] might take for one.
func In(text string) (all []string) {
	for i := range len(text) {
		if text[i] != '{' || i > 0 && text[i-1] == '\\' {
			continue
		}
		for end := i + 1; end < len(text); end++ {
			if text[end] != '}' || text[end-1] == '\\' && end < len(text)-1 {
				continue
			}
			if key := text[i+1 : end]; !slices.Contains(all, key) {
				all = append(all, key)
			}
			break
		}
	}
	return all
}
