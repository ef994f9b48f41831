package placeholders

import (
	"slices"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	for placeholder, want := range map[string]Writer{
		"http.auth.user.id":              Trusted,
		"http.auth.candidate.id":         Visitor,
		"http.reverse_proxy.header.X":    Trusted,
		"http.request.remote.host":       Trusted,
		"http.request.remote.host/24,64": Trusted,
		"http.request.remotely":          Visitor,
		"http.request.method":            Visitor,
		"http.request.orig_uri.path":     Visitor,
		"http.request.uri.query.a":       Visitor,
		"http.request.header.A":          Header,
		"http.request.cookie.a":          Cookie,
		"http.request.tls.client.issuer": Certificate,
		"http.request.tls.server_name":   Visitor,
		"http.vars.client_ip":            Trusted,
		"http.vars.client_ips":           Defined,
		"http.vars.trace_id":             Visitor,
		"session.user":                   Trusted,
		"session.data.user":              Defined,
		"http.session.data.a.b":          Defined,
		"env.HOME":                       Trusted,
		"anything":                       Unknown,
		"http.rate_limit.exceeded.name":  Unknown,
		"":                               Unknown,
	} {
		writer, what := Of(placeholder)
		if writer != want || what == "" {
			t.Errorf("%s: %v, %q", placeholder, writer, what)
		}
	}
	for _, p := range placeholders {
		if p.why == "" || strings.ContainsAny(p.name, "{}") {
			t.Errorf("%+v", p)
		}
	}
}

func TestIn(t *testing.T) {
	for text, want := range map[string][]string{
		"":                 nil,
		"a":                nil,
		"{a}":              {"a"},
		"x{a}{b}{a}y":      {"a", "b"},
		`\{a}`:             nil,
		`{a\}b}`:           {`a\}b`},
		"{a":               nil,
		"{a{b}":            {"a{b", "b"}, // either could be meant
		`{file./x}\{y}{z}`: {"file./x", "z"},
	} {
		if got := In(text); !slices.Equal(got, want) {
			t.Errorf("%s: %q", text, got)
		}
	}
}
