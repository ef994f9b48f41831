package cookiejar_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

func TestHarden(t *testing.T) {
	all := []cookiejar.Harden{{Secure: true, HTTPOnly: true, SameSite: "lax"}}
	for _, test := range []struct {
		why    string
		harden []cookiejar.Harden
		url    string
		line   string
		want   string // "" = the same
	}{
		{"nothing asked", nil, https, "a=b", ""},
		{"all weaker", all, https, "a=b", "a=b; SameSite=Lax; Secure; HttpOnly"},
		{"all there", all, https, "a=b; secure; HTTPONLY; samesite=lax", ""},
		{"stronger", all, https, "a=b; Secure; HttpOnly; SameSite=Strict", ""},
		{"one missing", all, https, "a=b; Secure; SameSite=Strict", "a=b; Secure; SameSite=Strict; HttpOnly"},
		{"None", all, https, "a=b; SameSite=None; Secure; HttpOnly", "a=b; SameSite=Lax; Secure; HttpOnly"},
		{"None, oddly", all, https, "a=b;samesite =\tNONE ;x;Secure;HttpOnly;", "a=b;samesite =\tLax ;x;Secure;HttpOnly;"},
		{"an unknown word", all, https, "a=b; SameSite=x; Secure; HttpOnly", "a=b; SameSite=Lax; Secure; HttpOnly"},
		{"no word", all, https, "a=b; SameSite ; Secure; HttpOnly", "a=b; SameSite=Lax; Secure; HttpOnly"},
		{"an empty word", all, https, "a=b; SameSite=; Secure; HttpOnly", "a=b; SameSite=Lax; Secure; HttpOnly"},
		{"the last one counts", all, https, "a=b; SameSite=Strict; SameSite=None; Secure; HttpOnly", "a=b; SameSite=Strict; SameSite=Lax; Secure; HttpOnly"},
		{"the last one is good", all, https, "a=b; SameSite=None; SameSite=Strict; Secure; HttpOnly", ""},
		{"in the value", all, https, "SameSite=SameSite=None; Secure; HttpOnly", "SameSite=SameSite=None; Secure; HttpOnly; SameSite=Lax"},
		{"Lax to Strict", []cookiejar.Harden{{SameSite: "strict"}}, https, "a=b; SameSite=Lax", "a=b; SameSite=Strict"},
		{"plain HTTP", all, site, "a=b; SameSite=Lax; HttpOnly", ""},
		{"plain HTTP, the others", all, site, "a=b", "a=b; SameSite=Lax; HttpOnly"},
		{"__Host-", all, https, "__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/; SameSite=Lax; HttpOnly"},
		{"__Host- that browsers refuse", all, https, "__Host-a=b", ""},
		{"another domain", all, https, "a=b; Domain=example.com", "a=b; Domain=example.com; SameSite=Lax; Secure; HttpOnly"},
		{"deletion", all, https, "a=; Max-Age=0", ""},
		{"deletion by date", all, https, "a=b; expires=Thu, 01-Jan-1970 00:00:01 GMT; path=/", ""},
		{"a control character", all, https, "a=b\x01", ""},
		{"too large", all, https, "a=" + strings.Repeat("b", 5000), ""},
		{"nameless", all, https, "b", "b; SameSite=Lax; Secure; HttpOnly"},
		{"odd bytes", all, https, " a =\"\xff\";;=;path = /x ; ", " a =\"\xff\";;=;path = /x ; ; SameSite=Lax; Secure; HttpOnly"},
		{"a long attribute that does not count", []cookiejar.Harden{{SameSite: "lax"}}, https, "a=b; SameSite=" + strings.Repeat("x", 1025), "a=b; SameSite=" + strings.Repeat("x", 1025) + "; SameSite=Lax"},
	} {
		v := newVisitor(t, cookiejar.Rules{Harden: test.harden})
		if test.want == "" {
			test.want = test.line
		}
		got, ignored := v.sent(test.url, "first=1; Secure; HttpOnly; SameSite=Strict", test.line)
		if want := []string{"first=1; Secure; HttpOnly; SameSite=Strict", test.want}; !slices.Equal(got, want) || ignored != nil {
			t.Errorf("%s: got %q, want %q", test.why, got, want)
		}
		// What is hard stays as it is.
		if again, _ := v.sent(test.url, test.want); !slices.Equal(again, []string{test.want}) {
			t.Errorf("%s: a second time makes %q of %q", test.why, again, test.want)
		}
	}
}

// Each rule has exceptions of its own.
func TestHardenExcept(t *testing.T) {
	v := newVisitor(t, cookiejar.Rules{Harden: []cookiejar.Harden{
		{Secure: true, SameSite: "strict", Except: []string{"widget"}},
		{HTTPOnly: true, Except: []string{"csrftoken", "wp-settings-*"}},
	}})
	got, _ := v.sent(https, "a=1", "csrftoken=1", "wp-settings-1=a", "widget=1", "CSRFTOKEN=1")
	if want := []string{
		"a=1; SameSite=Strict; Secure; HttpOnly", "csrftoken=1; SameSite=Strict; Secure", "wp-settings-1=a; SameSite=Strict; Secure",
		"widget=1; HttpOnly", "CSRFTOKEN=1; SameSite=Strict; Secure; HttpOnly",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, test := range []struct {
		rules []cookiejar.Harden
		err   string
	}{
		{[]cookiejar.Harden{{}}, "at least one attribute"},
		{[]cookiejar.Harden{{Except: []string{"a"}}}, "at least one attribute"},
		{[]cookiejar.Harden{{Secure: true, Except: []string{"*"}}}, "remove the line"},
		{[]cookiejar.Harden{{Secure: true, Except: []string{"a=b"}}}, "except \"a=b\""},
		{[]cookiejar.Harden{{Secure: true, Except: []string{""}}}, "except \"\""},
		{[]cookiejar.Harden{{Secure: true, Except: []string{"a", "a"}}}, "given twice"},
		{[]cookiejar.Harden{{Secure: true, Except: []string{"a"}}, {Secure: true, Except: []string{"b"}}}, "harden has secure in two lines"},
		{[]cookiejar.Harden{{HTTPOnly: true}, {Secure: true}, {HTTPOnly: true}}, "harden has http_only in two lines"},
		{[]cookiejar.Harden{{SameSite: "lax"}, {SameSite: "strict"}}, "harden has same_site in two lines"},
	} {
		if err := (cookiejar.Rules{Harden: test.rules}).Validate(nil); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %v", test.rules, err)
		}
	}
}
