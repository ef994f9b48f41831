package cookiejar_test

import (
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		cookie cookiejar.Cookie
		want   string // "" = valid; else part of the message
	}{
		{cookiejar.Cookie{}, ""},
		{cookiejar.Cookie{Name: "auto", Secure: "auto", SameSite: "lax", Path: "/", Priority: "medium"}, ""},
		{cookiejar.Cookie{Name: "PHPSESSID", Secure: "off"}, ""},
		{cookiejar.Cookie{Name: "__Hostile", Secure: "off"}, ""},
		{cookiejar.Cookie{Domain: "localhost"}, ""},
		{cookiejar.Cookie{Domain: ".example.com"}, ""},
		{cookiejar.Cookie{Domain: "example.com."}, ""},
		{cookiejar.Cookie{Domain: "3com.example"}, ""},
		{cookiejar.Cookie{Domain: "b\u00fccher.example"}, ""},
		{cookiejar.Cookie{Path: "/a%20b/"}, ""},
		{cookiejar.Cookie{Name: "__Secure-x", Domain: "example.com", Path: "/a"}, ""},
		{cookiejar.Cookie{Name: "__Http-x", Domain: "example.com", Path: "/a", Secure: "on"}, ""},

		{cookiejar.Cookie{Name: strings.Repeat("n", 256)}, ""},
		{cookiejar.Cookie{Name: strings.Repeat("n", 257)}, "more than 256"},
		{cookiejar.Cookie{SameSite: "Lax"}, "use lax, strict or none"},
		{cookiejar.Cookie{Secure: "yes"}, "use auto, on or off"},
		{cookiejar.Cookie{Priority: "urgent"}, "use low, medium or high"},

		{cookiejar.Cookie{SameSite: "none", Secure: "off"}, "secure off contradicts same_site none"},
		{cookiejar.Cookie{Partitioned: true, Secure: "off"}, "secure off contradicts partitioned"},
		{cookiejar.Cookie{Name: "__Host-x", Secure: "off"}, "secure off contradicts a name"},
		{cookiejar.Cookie{Name: "__secure-x", Secure: "off"}, "secure off contradicts a name"},
		{cookiejar.Cookie{Name: "__HTTP-x", Secure: "off"}, "secure off contradicts a name"},
		{cookiejar.Cookie{Name: "__Host-Http-x", Secure: "off"}, "secure off contradicts a name"},
		{cookiejar.Cookie{Name: "__Host-x", Domain: "example.com"}, "remove the domain"},
		{cookiejar.Cookie{Name: "__host-x", Path: "/a"}, "remove the path"},
		{cookiejar.Cookie{Name: "__Host-Http-x", Path: "/a"}, "remove the path"},

		{cookiejar.Cookie{Name: "a b"}, "not a token"},
		{cookiejar.Cookie{Name: "a=b"}, "not a token"},
		{cookiejar.Cookie{Name: "s\u00efd"}, "not a token"},

		{cookiejar.Cookie{Domain: "192.0.2.1"}, "ends in a number"},
		{cookiejar.Cookie{Domain: "2.1"}, "ends in a number"},
		{cookiejar.Cookie{Domain: "[::1]"}, "is an IP address"},
		{cookiejar.Cookie{Domain: "::1"}, "is an IP address"},
		{cookiejar.Cookie{Domain: "example.com:443"}, "has a port"},
		{cookiejar.Cookie{Domain: "https://example.com"}, "has a port"},
		{cookiejar.Cookie{Domain: "."}, "not a host name"},
		{cookiejar.Cookie{Domain: "..example.com"}, "not a host name"},
		{cookiejar.Cookie{Domain: "*.example.com"}, "not a host name"},
		{cookiejar.Cookie{Domain: "example.com; Secure"}, "not a host name"},
		{cookiejar.Cookie{Domain: "my_app.example"}, "cannot be a cookie's"},
		{cookiejar.Cookie{Domain: "-a.example"}, "cannot be a cookie's"},

		{cookiejar.Cookie{Path: "app"}, `use "/app"`},
		{cookiejar.Cookie{Path: "/a;b"}, "byte ';'"},
		{cookiejar.Cookie{Path: "/a b"}, "byte ' '"},
		{cookiejar.Cookie{Path: "/a\r\nb"}, `byte '\r'`},
		{cookiejar.Cookie{Path: "/\u00e4"}, "percent-encode"},
		{cookiejar.Cookie{Path: "/" + strings.Repeat("a", 1024)}, "1025 bytes"},
	}
	for _, tt := range tests {
		err := tt.cookie.Validate()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v", tt.cookie, err)
		case tt.want != "" && err == nil:
			t.Errorf("%+v: accepted", tt.cookie)
		case tt.want != "" && !strings.Contains(err.Error(), tt.want):
			t.Errorf("%+v: %v, want %q", tt.cookie, err, tt.want)
		}
	}
}
