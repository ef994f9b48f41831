package sessionapp

import (
	"crypto/tls"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"

	"github.com/caddy-session/caddy-session/internal/placeholders"
)

// Which strings of what is set can become the subject.
func TestSubjectTexts(t *testing.T) {
	object := map[string]any{
		"user":     map[string]any{"id": "a", "name": "b", "ids": []any{"c", map[string]any{"d": "e"}}, "p.q": "f"},
		"user.id":  "g", // which a path finds first
		"userx":    "h",
		"username": "i",
		"number":   1,
	}
	for path, want := range map[string][]string{
		"user":      {"a", "b", "c", "e", "f"},
		"user.id":   {"a", "g"},
		"user.ids":  {"c", "e"},
		"user.p.q":  {"f"},
		"user.none": nil,
		"userx.id":  {"h"}, // in place of an object
		"number":    nil,
		"none":      nil,
	} {
		if got := subjectTexts(object, path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// A certificate says who somebody is where an authority has been asked.
func TestIdentityOfCertificates(t *testing.T) {
	const certificate = "{http.request.tls.client.subject}"
	for mode, want := range map[tls.ClientAuthType]placeholders.Writer{
		tls.NoClientCert:               placeholders.Trusted, // it is empty
		tls.VerifyClientCertIfGiven:    placeholders.Trusted,
		tls.RequireAndVerifyClientCert: placeholders.Trusted,
		tls.RequestClientCert:          placeholders.Unknown,
		tls.RequireAnyClientCert:       placeholders.Unknown,
	} {
		server := &caddyhttp.Server{TLSConnPolicies: caddytls.ConnectionPolicies{
			{TLSConfig: &tls.Config{ClientAuth: tls.NoClientCert}}, {}, {TLSConfig: &tls.Config{ClientAuth: mode}},
		}}
		c := &identityCheck{defined: newDefinitions(nil), server: server}
		if got := c.text(certificate, map[string]bool{}); got.writer != want {
			t.Errorf("%v: %v, want %v", mode, got.writer, want)
		}
	}
}
