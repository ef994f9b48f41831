package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A request that another site has caused comes without our cookie although the
// browser may have one: what the application sets then must not take its place.
func TestAnotherSiteBeginsNoSession(t *testing.T) {
	a := app(t, scripted)
	const (
		form  = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document"
		here  = "Sec-Fetch-Site: same-origin"
		flash = "/?set=flash%3Dhello"
		in    = "/?set=user%3Dalice"
		kept  = "/?h.Set-Cookie=PHPSESSID%3D1"
		// Well-formed, and nobody's.
		planted = "AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		check   = "Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT"
	)
	for _, tt := range []struct {
		why, sameSite, method, target, lines string
		cookie                               bool // a session begins
	}{
		{"a form elsewhere", "lax", "POST", flash, form, false},
		{"a form elsewhere, by Origin", "lax", "POST", flash, "Origin: https://evil.example", false},
		{"a form elsewhere, a kept cookie", "lax", "POST", kept, form, false},
		{"a form elsewhere, signing in", "lax", "POST", in, form, true}, // as identity providers post
		{"a form here", "lax", "POST", flash, here, true},
		{"a form here, a kept cookie", "lax", "POST", kept, here, true},
		{"a form elsewhere, and a planted cookie", "lax", "POST", flash, form + "\r\nCookie: csid=" + planted, false},
		{"a form here, and a dead cookie", "lax", "POST", flash, here + "\r\nCookie: csid=" + planted, true},
		{"an image elsewhere", "lax", "GET", flash, "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image", false},
		{"a program", "lax", "POST", flash, "X: y", true},
		{"a link elsewhere", "lax", "GET", flash, form, true},
		{"a link elsewhere, strict", "strict", "GET", flash, form, false},
		{"a link elsewhere, strict, a kept cookie", "strict", "GET", kept, form, false},
		{"a form elsewhere, and our cookie goes with it", "none", "POST", flash, form, true},
		{"a preflight", "none", "OPTIONS", flash, check, false},
	} {
		t.Run(tt.why, func(t *testing.T) {
			s := serve(t, probed, fmt.Sprintf("session {\n\tcookie {\n\t\tsame_site %s\n\t}\n\tcookies {\n\t\tkeep PHPSESSID\n\t}\n}\nreverse_proxy %s", tt.sameSite, a.host()))
			r := s.parse(s.raw(s.request(tt.method, tt.target, "", strings.Split(tt.lines, "\r\n")...)))
			if r.StatusCode != http.StatusOK || (r.Header.Get("Set-Cookie") != "") != tt.cookie {
				t.Errorf("%q", r.raw)
			}
		})
	}
}
