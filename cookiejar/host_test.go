package cookiejar_test

import (
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestCanonicalHost(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := label + "." + label + "." + label + "." + label[:61]
	tests := []struct{ why, in, want string }{ // want "" = false
		{"canonical already", "example.com", "example.com"},
		{"case", "Example.COM", "example.com"},
		{"port", "example.com:8080", "example.com"},
		{"the grammar allows an empty port", "example.com:", "example.com"},
		{"one trailing dot", "example.com.", "example.com"},
		{"trailing dot and port", "example.com.:443", "example.com"},
		{"a single label", "localhost:2015", "localhost"},
		{"an underscore of old", "my_app.intra", "my_app.intra"},
		{"hyphens anywhere, as in real names", "r3---sn-x-.example", "r3---sn-x-.example"},
		{"longest label", label + ".com", label + ".com"},
		{"longest name", longest, longest},
		{"longest name with a trailing dot", longest + ".", longest},
		{"IPv4", "192.0.2.1:80", "192.0.2.1"},
		{"IPv6", "[2001:db8::1]", "[2001:db8::1]"},
		{"IPv6 with port", "[2001:db8::1]:8443", "[2001:db8::1]"},
		{"IPv6, long form and upper case", "[2001:DB8:0:0::0001]", "[2001:db8::1]"},
		{"IPv4 in IPv6", "[::FFFF:192.0.2.1]", "[::ffff:192.0.2.1]"},
		{"umlaut", "B\u00fccher.example", "xn--bcher-kva.example"},
		{"decomposed umlaut", "bu\u0308cher.example", "xn--bcher-kva.example"},
		{"sharp s is not ss (non-transitional)", "fa\u00df.de", "xn--fa-hia.de"},
		{"full width", "\uff45xample.com", "example.com"},
		{"ideographic full stop within", "b\u00fccher\u3002example", "xn--bcher-kva.example"},
		{"A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"A-label in upper case", "XN--BCHER-KVA.Example", "xn--bcher-kva.example"},
		{"A-label next to an underscore", "my_app.xn--bcher-kva.example", "my_app.xn--bcher-kva.example"},
		{"right to left", "\u05d0\u05d1.example", "xn--4dbc.example"},

		{"empty", "", ""},
		{"only a port", ":80", ""},
		{"only a dot", ".", ""},
		{"two trailing dots", "example.com..", ""},
		{"leading dot", ".example.com", ""},
		{"empty label", "a..b", ""},
		{"label too long", label + "a.com", ""},
		{"name too long", longest + "a", ""},
		{"A-label too long once encoded", strings.Repeat("\u00fc", 63) + ".com", ""},
		{"far too long", strings.Repeat("\u00ad", 10000) + "a", ""},
		{"space", "exa mple.com", ""},
		{"space around", " example.com", ""},
		{"control byte", "example\x00.com", ""},
		{"line feed", "example.com\n", ""},
		{"percent", "ex%61mple.com", ""},
		{"user information", "user@example.com", ""},
		{"slash", "example.com/", ""},
		{"something that maps to a slash", "\u2100.example", ""},
		{"comma of a joined header", "a.example, b.example", ""},
		{"port not digits", "example.com:http", ""},
		{"port negative", "example.com:-1", ""},
		{"port too long", "example.com:000080", ""},
		{"two ports", "example.com:80:80", ""},
		{"IPv6 without brackets", "2001:db8::1", ""},
		{"IPv6 with zone", "[fe80::1%eth0]", ""},
		{"IPv6 with encoded zone", "[fe80::1%25eth0]:80", ""},
		{"IPv6 not closed", "[::1", ""},
		{"IPv6 empty", "[]", ""},
		{"IPv6 and something else", "[::1]x", ""},
		{"IPv6 port", "[::1]:x", ""},
		{"IPv4 in brackets", "[192.0.2.1]", ""},
		{"name in brackets", "[example.com]", ""},
		{"invalid UTF-8", "b\xfccher.example", ""},
		{"the replacement character", "b\ufffdcher.example", ""},
		{"its A-label", "xn--bcher-lm43a.example", ""},
		{"invalid A-label", "xn--a\u00fc.example", ""},
		{"A-label that does not decode", "xn--99999999.example", ""},
		{"A-label that decodes to nothing", "a.xn--.b", ""},
		{"the same at the end must not vanish", "example.xn--", ""},
		{"the same with a dot", "example.xn--.", ""},
		{"A-label of plain ASCII", "xn--abc-.example", ""},
		{"A-label of something not in mapped form", "xn--Bcher-Kva-0ra.example", ""},
		{"label that maps to nothing", "a.\u00ad.b", ""},
		{"the same at the end", "a.\u00ad", ""},
		{"ideographic full stop at the end", "a\u3002", ""},
		{"mixed directions", "a\u05d0.example", ""},
	}
	for _, tt := range tests {
		got, ok := cookiejar.CanonicalHost(tt.in)
		if got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %.80q: got %q, %v; want %q", tt.why, tt.in, got, ok, tt.want)
		}
	}
}

func TestCanonicalHostAllocates(t *testing.T) {
	for _, host := range []string{"example.com", "my_app.example.com:8080", "192.0.2.1", "bad host"} {
		if n := testing.AllocsPerRun(100, func() { cookiejar.CanonicalHost(host) }); n != 0 {
			t.Errorf("%q: %v allocations", host, n)
		}
	}
}
