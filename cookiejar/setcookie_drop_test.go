package cookiejar_test

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestSetCookieName(t *testing.T) {
	tests := []struct{ why, line, want string }{
		{"plain", "sid=a; Path=/", "sid"},
		{"no attributes", "sid=a", "sid"},
		{"the first '=' ends the name", "sid=a=b", "sid"},
		{"white space is trimmed", " \tsid\t = a", "sid"},
		{"inner white space stays", "s id=a", "s id"},
		{"case stays", "SID=a", "SID"},
		{"'=' behind the first ';' is an attribute's", "x; sid=a", ""},
		{"no '=' means no name", "sid", ""},
		{"nameless", "=sid=a", ""},
		{"empty", "", ""},
		{"a quoted ';' ends the pair all the same", `"a;b"=c`, ""},
	}
	for _, tt := range tests {
		if got := cookiejar.SetCookieName(tt.line); got != tt.want {
			t.Errorf("%s: %q: got %q, want %q", tt.why, tt.line, got, tt.want)
		}
	}
}

func TestDropSetCookie(t *testing.T) {
	tests := []struct {
		why     string
		lines   []string
		want    []string // nil: the header is gone
		dropped []string
	}{
		{"no header", nil, nil, nil},
		{"others in order", []string{"a=1", "b=2; Path=/sid", "a=3"}, []string{"a=1", "b=2; Path=/sid", "a=3"}, nil},
		{"among others", []string{"a=1", "sid=x; HttpOnly", "b=2"}, []string{"a=1", "b=2"}, []string{"sid"}},
		{"alone", []string{"sid=x"}, nil, []string{"sid"}},
		{"each is told", []string{"sid=x", "a=1", "__Host-sid=y", "sid=z"}, []string{"a=1"}, []string{"sid", "__Host-sid", "sid"}},
		{"white space", []string{" sid\t=x", "a=1"}, []string{"a=1"}, []string{"sid"}},
		{"expiry is dropped too", []string{"sid=; Max-Age=0", "a=1"}, []string{"a=1"}, []string{"sid"}},
		{"a nameless cookie comes back as its value", []string{"=sid=x", " = sid =x; Path=/", "a=1"}, []string{"a=1"}, []string{"sid", "sid"}},
		{"a nameless cookie of others", []string{"=a", "=", "", "sid", "==sid=x"}, []string{"=a", "=", "", "sid", "==sid=x"}, nil},
		{"case makes another name", []string{"SID=x"}, []string{"SID=x"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			h := http.Header{"Content-Type": {"text/html"}}
			if tt.lines != nil {
				h["Set-Cookie"] = tt.lines
			}
			before := slices.Clone(tt.lines)
			dropped := cookiejar.DropSetCookie(h, compile(t, cookiejar.Cookie{}).Names()...)
			if !slices.Equal(dropped, tt.dropped) {
				t.Errorf("dropped %q, want %q", dropped, tt.dropped)
			}
			got, ok := h["Set-Cookie"]
			if !slices.Equal(got, tt.want) || ok != (tt.want != nil) {
				t.Errorf("got %q, %v; want %q", got, ok, tt.want)
			}
			if !slices.Equal(tt.lines, before) {
				t.Errorf("the old slice became %q", tt.lines)
			}
		})
	}
}

func TestDropSetCookieEverySpelling(t *testing.T) {
	h := http.Header{"set-cookie": {"sid=x", "a=1"}, "Set-Cookie2": {"sid=x"}}
	dropped := cookiejar.DropSetCookie(h, "sid")
	want := http.Header{"set-cookie": {"a=1"}, "Set-Cookie2": {"sid=x"}}
	if !slices.Equal(dropped, []string{"sid"}) || !reflect.DeepEqual(h, want) {
		t.Errorf("dropped %q, left %v", dropped, h)
	}
}
