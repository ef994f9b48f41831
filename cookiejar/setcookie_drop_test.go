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
		{"plain", "csid=a; Path=/", "csid"},
		{"no attributes", "csid=a", "csid"},
		{"the first '=' ends the name", "csid=a=b", "csid"},
		{"white space is trimmed", " \tcsid\t = a", "csid"},
		{"inner white space stays", "cs id=a", "cs id"},
		{"case stays", "CSID=a", "CSID"},
		{"'=' behind the first ';' is an attribute's", "x; csid=a", ""},
		{"no '=' means no name", "csid", ""},
		{"nameless", "=csid=a", ""},
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
		{"others in order", []string{"a=1", "b=2; Path=/csid", "a=3"}, []string{"a=1", "b=2; Path=/csid", "a=3"}, nil},
		{"among others", []string{"a=1", "csid=x; HttpOnly", "b=2"}, []string{"a=1", "b=2"}, []string{"csid"}},
		{"alone", []string{"csid=x"}, nil, []string{"csid"}},
		{"each is told", []string{"csid=x", "a=1", "__Host-csid=y", "csid=z"}, []string{"a=1"}, []string{"csid", "__Host-csid", "csid"}},
		{"white space", []string{" csid\t=x", "a=1"}, []string{"a=1"}, []string{"csid"}},
		{"expiry is dropped too", []string{"csid=; Max-Age=0", "a=1"}, []string{"a=1"}, []string{"csid"}},
		{"a nameless cookie comes back as its value", []string{"=csid=x", " = csid =x; Path=/", "a=1"}, []string{"a=1"}, []string{"csid", "csid"}},
		{"a nameless cookie of others", []string{"=a", "=", "", "csid", "==csid=x"}, []string{"=a", "=", "", "csid", "==csid=x"}, nil},
		{"case makes another name", []string{"CSID=x"}, []string{"CSID=x"}, nil},
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

func TestDropTokens(t *testing.T) {
	for _, tt := range []struct {
		line string
		gone bool
	}{
		{"csid=" + testToken, true},
		{" csid = \"" + testToken + "\" ; Path=/", true},
		{"=csid=" + testToken, true},
		{"csid=" + testToken + "x", false},
		{"csid=x; Path=/" + testToken, false},
		{"csid=; Max-Age=0", false},
		{"other=" + testToken, false},
	} {
		h := http.Header{"Set-Cookie": {"a=1", tt.line}}
		dropped := cookiejar.DropTokens(h, isToken, "csid")
		if gone := slices.Equal(dropped, []string{"csid"}); gone != tt.gone || len(h["Set-Cookie"]) == 2 == tt.gone {
			t.Errorf("%q: dropped %q, left %q", tt.line, dropped, h["Set-Cookie"])
		}
	}
}

func TestDropSetCookieEverySpelling(t *testing.T) {
	h := http.Header{"set-cookie": {"csid=x", "a=1"}, "Set-Cookie2": {"csid=x"}}
	dropped := cookiejar.DropSetCookie(h, "csid")
	want := http.Header{"set-cookie": {"a=1"}, "Set-Cookie2": {"csid=x"}}
	if !slices.Equal(dropped, []string{"csid"}) || !reflect.DeepEqual(h, want) {
		t.Errorf("dropped %q, left %v", dropped, h)
	}
}
