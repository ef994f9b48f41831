package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/caching"
)

func TestRule9CachesMustNotSignPeopleIn(t *testing.T) {
	const (
		obeyed  = iota // the session is set
		private        // and caches are told to keep off
		ignored        // the response passes without
	)
	tests := []struct {
		lines string
		want  int
	}{
		{"Cache-Control: public\r\n", private},
		{"Cache-Control: max-age=60, PUBLIC\r\n", private},
		{"Cache-Control: s-maxage=60\r\n", private},
		{"Cache-Control: no-cache\r\nCache-Control: s-maxage=\"60\"\r\n", private},
		{"Cache-Control: private=\"X-A\", public\r\n", private},
		{"Surrogate-Control: max-age=60\r\n", private},
		{"Surrogate-Control: content=\"ESI/1.0\"\r\n", private},
		{"CDN-Cache-Control: max-age=60\r\n", private},
		{"Cache-Control: no-store\r\nCDN-Cache-Control: max-age=60\r\n", private},
		{"Cloudflare-CDN-Cache-Control: max-age=60\r\n", private},
		{"Vendor-Cache-Control: max-age=60\r\n", private},
		{"Edge-Control: max-age=60\r\n", private},
		{"X-Accel-Expires: 60\r\n", private},
		{"X-LiteSpeed-Cache-Control: public\r\n", private},
		{"X-Accel-Expires: 0\r\n", obeyed},
		{"Edge-Control: no-store\r\n", obeyed},
		{"X-Cache: HIT\r\n", ignored},
		{"X-Cache: MISS\r\n", obeyed},
		{"Cache-Control: private, public\r\n", obeyed},
		{"Cache-Control: public, no-store\r\n", obeyed},
		{"Surrogate-Control: no-store\r\n", obeyed},
		{"CDN-Cache-Control: private\r\n", obeyed},
		{"Cache-Control: max-age=60\r\n", obeyed},
		{"Cache-Control: private, max-age=60\r\n", obeyed},
		{"Expires: Thu, 01 Dec 2094 16:00:00 GMT\r\n", obeyed},
		{"Age: 0\r\n", obeyed},
		{"Age: 1\r\n", ignored},
		{"Age: 0\r\nAge: 7\r\n", ignored},
		{"Age: soon\r\n", ignored},
		{"Cache-Status: nginx; hit\r\n", ignored},
		{"Cache-Status: origin; fwd=miss, cdn; hit; ttl=3\r\n", ignored},
		{"Cache-Status: \"my, cache\"; hit\r\n", ignored},
		{"Cache-Status: nginx; fwd=miss; stored\r\n", obeyed},
		{"Cache-Status: nginx; hit=?0\r\n", obeyed},
		{"Cache-Control: public\r\nAge: 1\r\n", ignored},
	}
	controls := []struct{ name, line string }{
		{"set", "X-Session-Set: user=mallory\r\n"},
		{"control", "X-Session-Control: destroy\r\n"},
		{"malformed", "X-Session-Set: nonsense\r\n"},
		{"folded", "X_Session_Set: user=mallory\r\n"}, // not obeyed, and so no matter
	}
	var responses []string
	for _, control := range controls {
		for _, tt := range tests {
			responses = append(responses, saying("200 OK", tt.lines+control.line))
		}
	}
	u := upstream(t, numbered(responses...))
	a := app(t, scripted)
	site := "session\nhandle /see {\nreverse_proxy " + a.host() + "\n}\nreverse_proxy " + u.addr
	s := serve(t, probed, site)
	for i := range responses {
		s.load(probed, site) // lines that an application can repeat are limited
		control, tt := controls[i/len(tests)].name, tests[i%len(tests)]
		want := tt.want
		refused := control == "malformed" && want != ignored
		if control == "folded" {
			want = ignored
		}
		changed := want != ignored && !refused
		cookie := s.get("/see?set=user%3Dalice", "").cookie()
		path := fmt.Sprintf("/%d", i)
		r := s.get(path, cookie)
		noSessionHeaders(t, r.raw)
		if r.StatusCode == http.StatusBadGateway != refused {
			t.Errorf("%q, %s: the client gets %q", tt.lines, control, r.raw)
		}
		if (r.Header.Get("Set-Cookie") != "") != changed {
			t.Errorf("%q, %s: cookie: %q", tt.lines, control, r.raw)
		}
		if changed && (r.Header.Get("Cache-Control") != "no-store" || caching.Shareable(r.Header)) {
			t.Errorf("%q, %s: a cache may keep %q", tt.lines, control, r.raw)
		}
		logged := func(level, text string) bool {
			return len(s.logged(`"level":"`+level+`"`, text, fmt.Sprintf(`"path":"%s"`, path))) == 1
		}
		if logged("error", "comes from a cache") != (want == ignored && control != "folded") || logged("error", "refusing a response") != refused ||
			logged("warn", "making a response private") != (want == private && !refused) {
			t.Errorf("%q, %s: wrongly logged", tt.lines, control)
		}
		if got := s.get("/see", cookie).body; strings.Contains(got, "version=1") == changed {
			t.Errorf("%q, %s: the session has become %q", tt.lines, control, got)
		}
	}
}

// Express and others say public with every file that they send.
func TestRule9SessionHeadersMakePrivate(t *testing.T) {
	u := upstream(t, always(saying("200 OK", "Cache-Control: public, max-age=0\r\nEtag: x\r\nSurrogate-Control: max-age=9\r\nX-Session-Set: n=1\r\n")))
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session\nreverse_proxy /x "+u.addr+"\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	for range 3 {
		r := s.get("/x", cookie)
		if r.StatusCode != http.StatusOK || r.cookie() != "" || r.Header.Get("Cache-Control") != "max-age=0, private" ||
			r.Header.Get("Surrogate-Control") != "" || r.Header.Get("Etag") != "x" {
			t.Errorf("the client gets %q", r.raw)
		}
	}
	if got := s.get("/", cookie).body; !strings.Contains(got, `data={"n":"1","user":"alice"} version=4`) {
		t.Errorf("the session: %s", got)
	}
	if lines := s.logged("making a response private"); len(lines) != 1 || !strings.Contains(lines[0], `"level":"warn"`) {
		t.Errorf("warnings: %q", lines)
	}
	if lines := s.logged(`"level":"error"`); lines != nil {
		t.Errorf("errors: %q", lines)
	}
}

// The table of section 2 of the design: what the client is told about caching.
func TestCachingHeaders(t *testing.T) {
	const (
		anonymous = iota
		live
		signingIn
		signingOut
	)
	const own = "Cache-Control: max-age=60\r\n"
	tests := []struct {
		name     string
		who      int
		response string // after the control headers
		want     string // the fields that have a say
	}{
		{"anonymous", anonymous, "", "Vary: Cookie"},
		{"live", live, "", "Cache-Control: private, Vary: Cookie"},
		{"setting the cookie", signingIn, "", "Cache-Control: no-store"},
		{"expiring the cookie", signingOut, "", "Cache-Control: no-store"},
		{"anonymous, explicit", anonymous, own, "Cache-Control: max-age=60"},
		{"live, explicit", live, own, "Cache-Control: max-age=60"},
		{"live, Expires", live, "Expires: 0\r\n", "Expires: 0"},
		{"live, Pragma", live, "Pragma: x\r\n", "Pragma: x"},
		{"live, CDN-Cache-Control", live, "CDN-Cache-Control: max-age=1\r\n", "Cdn-Cache-Control: max-age=1"},
		{"live, Surrogate-Control", live, "Surrogate-Control: max-age=1\r\n", "Surrogate-Control: max-age=1"},
		{"setting the cookie, explicit", signingIn, own + "Expires: 0\r\nPragma: x\r\n", "Cache-Control: no-store"},
		{"expiring the cookie, explicit", signingOut, own + "Cache-Control: must-revalidate\r\n", "Cache-Control: no-store"},
		{"Vary is there", live, "Vary: Accept\r\n", "Cache-Control: private, Vary: Accept|Cookie"},
		{"Vary names it", live, "Vary: Accept, cookie\r\n", "Cache-Control: private, Vary: Accept, cookie"},
		{"Vary star", anonymous, "Vary: *\r\n", "Vary: *"},
		{"empty Cache-Control", anonymous, "Cache-Control:\r\n", "Cache-Control: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lines := tt.response
			switch tt.who {
			case signingIn:
				lines += "X-Session-Set: user=alice\r\n"
			case signingOut:
				lines += "X-Session-Control: destroy\r\n"
			}
			u := upstream(t, always("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+saying("200 OK", lines)))
			a := app(t, scripted)
			s := serve(t, probed, "session\nreverse_proxy /x "+u.addr+"\nreverse_proxy "+a.host())
			cookie := ""
			if tt.who == live || tt.who == signingOut {
				cookie = s.signIn("alice")
			}
			interim, final, _ := strings.Cut(s.get("/x", cookie).raw, "\r\n\r\n")
			if strings.Contains(interim, "Vary") || strings.Contains(interim, "Cache-Control") {
				t.Errorf("103 says how to cache: %q", interim)
			}
			r := s.parse(final)
			var got []string
			for _, name := range []string{"Cache-Control", "Expires", "Pragma", "Cdn-Cache-Control", "Surrogate-Control", "Vary"} {
				if v := r.Header[name]; v != nil {
					got = append(got, name+": "+strings.Join(v, "|"))
				}
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("the client gets %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCachingHeadersOfAnUpgrade(t *testing.T) {
	for lines, want := range map[string]string{"": "", "X-Session-Set: n=1\r\n": "no-store"} {
		u := upstream(t, upgrading(lines))
		s := serve(t, probed, "session\nreverse_proxy "+u.addr)
		c := s.dial()
		defer c.Close()
		head := echo(t, c, s.request("GET", "/", "", "Connection: Upgrade", "Upgrade: websocket"))
		if strings.Contains(head, "Vary") || strings.Contains(head, "Cache-Control: no-store") != (want != "") || strings.Contains(head, "Set-Cookie: csid=") != (want != "") {
			t.Errorf("with %q the head is %q", lines, head)
		}
		noSessionHeaders(t, head)
	}
}
