package caddysession

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/session"
)

// The trailers of a request are a map that net/http writes when the body ends,
// on the goroutine that reads it: a proxy's, which may outlive the proxy.
func TestTrailersAreLeftAloneOnceTheBodyIsRead(t *testing.T) {
	protocol, err := session.NewProtocol("", nil, session.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{protocol: protocol, managed: protocol.ManagesRequest}
	tests := []struct {
		why  string
		then func(*visit, *http.Request)
		want bool // the second handler may look at the trailers
	}{
		{"nested", func(*visit, *http.Request) {}, true},
		{"in handle_response", func(_ *visit, r *http.Request) { r.Body.Read(make([]byte, 1)) }, false},
		{"in handle_errors", func(s *visit, _ *http.Request) { s.trailers.returned = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
			shared := http.Header{"X-Sum": nil, "X-Session-User": nil}
			r.Trailer = shared
			v := new(visit)
			h.stripRequest(r, v)
			if len(shared) != 1 {
				t.Errorf("announced: %v", shared)
			}
			tt.then(v, r)

			shared["X-Session-Id"] = []string{"forged"} // as net/http merges trailers
			again := r.WithContext(r.Context())
			h.stripRequest(again, v)
			_, there := shared["X-Session-Id"]
			if (again.Trailer != nil) != tt.want || there == tt.want {
				t.Errorf("trailers %v of %v", again.Trailer, shared)
			}
			if _, err := io.ReadAll(again.Body); err != nil {
				t.Error(err)
			}
			if _, there := shared["X-Session-Id"]; there {
				t.Error("a forged trailer is there at the end of the body")
			}
		})
	}
}

// Whatever has spelled the name of a Cookie line otherwise than net/http does.
func TestSessionCookieGoesInEachSpelling(t *testing.T) {
	protocol, err := session.NewProtocol("", nil, session.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := cookiejar.Cookie{}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	h := &Handler{protocol: protocol, managed: protocol.ManagesRequest, cookie: cookie}
	for _, name := range []string{"Cookie", "cookie", "COOKIE"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[name] = []string{"csid=secret; theme=dark"}
		v := new(visit)
		odd := v.enter(h, r)
		v.reserve(h, r).strip(r.Header, odd)
		if got := r.Header[name]; len(got) != 1 || got[0] != "theme=dark" {
			t.Errorf("%s: %q is left", name, got)
		}
	}
}

// What leaves HTTP, and what Connection names for it: strip.
func TestStripUpgrade(t *testing.T) {
	for _, tt := range []struct {
		allowed, upgrade, connection string
		wantUpgrade, wantConnection  string
	}{
		{"", "websocket", "Upgrade", "websocket", "Upgrade"},
		{"", "WebSocket", "keep-alive, Upgrade", "WebSocket", "keep-alive, Upgrade"},
		{"", "h2c", "Upgrade, HTTP2-Settings", "", ""},
		{"", "h2c, websocket", "Upgrade, HTTP2-Settings", "websocket", "Upgrade"},
		{"", "", "HTTP2-Settings, close", "", "close"},
		{"upgrade raw", "raw", "Upgrade", "raw", "Upgrade"},
		{"upgrade raw", "h2c", "Upgrade", "", ""},
		{"upgrade h2c", "h2c", "Upgrade, HTTP2-Settings", "h2c", "Upgrade, HTTP2-Settings"},
		{"", "", "X-Session-User, close", "", "close"},
		{"", "", "x_session_user", "", ""},
	} {
		h, err := parse(tt.allowed)
		if err != nil {
			t.Fatal(err)
		}
		r := request("/", "")
		r.Header.Set("Connection", tt.connection)
		r.Header.Set("Http2-Settings", "x")
		if tt.upgrade != "" {
			r.Header.Set("Upgrade", tt.upgrade)
		}
		h.stripRequest(r, visitOf(r))
		if got := r.Header.Get("Upgrade"); got != tt.wantUpgrade {
			t.Errorf("%+v: Upgrade %q", tt, got)
		}
		if got := r.Header.Get("Connection"); got != tt.wantConnection {
			t.Errorf("%+v: Connection %q", tt, got)
		}
		if got := r.Header.Get("Http2-Settings"); (got != "") != strings.Contains(tt.allowed, "h2c") {
			t.Errorf("%+v: HTTP2-Settings %q", tt, got)
		}
	}
}

func TestStripRequest(t *testing.T) {
	h, _ := handler(t, "forward lang X-Lang\nheader_prefix X-Auth-")
	for name, want := range map[string]bool{
		"X-Auth-User": false, "x-auth-user": false, "X_Auth_User": false, "X.Auth.Anything": false, "X-Lang": false, "X_lang": false,
		"X-Session-User": true, "X-Language": true, "Xauth": true, "Accept": true, "Cookie": true,
	} {
		r := request("/", "")
		r.Header[name] = []string{"forged"}
		h.stripRequest(r, visitOf(r))
		if _, got := r.Header[name]; got != want {
			t.Errorf("%s is left: %v", name, got)
		}
	}
}

// Cookies that a handler makes for the application can't be deleted by the
// client, by the proxy's leave.
func TestConnectionMayNotNameCookie(t *testing.T) {
	for block, want := range map[string]string{"": "Cookie, close", "cookies {\nkeep a\n}": "close"} {
		h, _ := handler(t, block)
		r := request("/", "a=b")
		r.Header.Set("Connection", "Cookie, close")
		h.stripRequest(r, visitOf(r))
		if got := r.Header.Get("Connection"); got != want {
			t.Errorf("%q: Connection %q", block, got)
		}
	}
}

func TestRefuseMethod(t *testing.T) {
	for _, tt := range []struct {
		method, proto, protocol string // protocol is of extended CONNECT
		major                   int
		want                    int
	}{
		{"GET", "HTTP/1.1", "", 1, 0},
		{"PROPFIND", "HTTP/1.1", "", 1, 0},
		{"TRACE", "HTTP/1.1", "", 1, 405},
		{"TRACE", "HTTP/2.0", "websocket", 2, 405},
		{"CONNECT", "HTTP/1.1", "", 1, 405},
		{"CONNECT", "HTTP/1.1", "websocket", 1, 405},
		{"CONNECT", "HTTP/2.0", "", 2, 405},
		{"CONNECT", "HTTP/2.0", "connect-udp", 2, 405},
		{"CONNECT", "HTTP/2.0", "websocket", 2, 0},
		{"CONNECT", "HTTP/3.0", "websocket", 3, 405},
		{"CONNECT", "websocket", "", 3, 0},
		{"CONNECT", "connect-udp", "", 3, 405},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.Proto, r.ProtoMajor = tt.method, tt.proto, tt.major
		if tt.protocol != "" {
			r.Header[":protocol"] = []string{tt.protocol}
		}
		w := httptest.NewRecorder()
		err := refuseMethod(w, r)
		if status(err) != tt.want || (w.Header().Get("Allow") != "") != (tt.want != 0) {
			t.Errorf("%+v: %v, %v", tt, err, w.Header())
		}
	}
}

// Where the cookie is Secure, an application may have one of the plain name, but can't
// sign anybody in with it.
func TestDropCookiesOfSharedNames(t *testing.T) {
	h, _ := handler(t, "")
	names, shared := h.cookie.Reserved(true)
	token := session.NewToken().Bearer()
	header := http.Header{"Set-Cookie": {shared[0] + "=app", names[0] + "=app", shared[0] + "=" + token}}
	h.dropCookies(header, reserved{names, shared}, "")
	if got := header["Set-Cookie"]; !slices.Equal(got, []string{shared[0] + "=app"}) {
		t.Errorf("left: %q", got)
	}
}

func TestDropCookies(t *testing.T) {
	for _, tt := range []struct {
		own  string
		set  []string
		want []string
	}{
		{"", []string{"a=b"}, []string{"a=b"}},
		{"", []string{"csid=x", "a=b", "csid=; Max-Age=0"}, []string{"a=b"}},
		{"", []string{"__Host-csid=x; Secure"}, nil},
		{"", []string{""}, []string{""}},
		{"csid=own", []string{"csid=x", "csid=own", "a=b"}, []string{"a=b", "csid=own"}},
		{"csid=own", []string{"csid=x"}, nil},
	} {
		h, _ := handler(t, "")
		header := http.Header{"Set-Cookie": tt.set}
		h.dropCookies(header, reserved{names: h.cookie.Names()}, tt.own)
		if got := header["Set-Cookie"]; !slices.Equal(got, tt.want) {
			t.Errorf("%q with own %q: %q", tt.set, tt.own, got)
		}
	}
}
