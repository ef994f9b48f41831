package cookiejar_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// blanks are the bytes that some server might trim from a cookie's name.
const blanks = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f \x7f"

// pairs splits Cookie lines in the plainest way: all pairs with their spacing,
// empty ones left out.
func pairs(lines []string) (all []string) {
	for _, line := range lines {
		for _, pair := range strings.Split(line, ";") {
			if strings.Trim(pair, " \t") != "" {
				all = append(all, pair)
			}
		}
	}
	return all
}

func FuzzCookieHeader(f *testing.F) {
	f.Fuzz(func(t *testing.T, line1, line2 string) {
		names := cookiejar.Cookie{}.Names()
		ours := func(pair string) bool {
			name, _, ok := strings.Cut(pair, "=")
			return ok && slices.Contains(names, strings.Trim(name, blanks))
		}
		lines := []string{line1, line2}
		h := http.Header{"Cookie": slices.Clone(lines)}

		values := map[string][]string{}
		for _, name := range names {
			got, err := cookiejar.Values(nil, h["Cookie"], name, anyValue)
			if (err != nil) != (len(line1)+len(line2) > cookiejar.MaxHeader) {
				t.Fatalf("Values of %d bytes: %v", len(line1)+len(line2), err)
			}
			if len(got) > cookiejar.MaxCandidates+1 {
				t.Fatalf("%d values", len(got))
			}
			for i, v := range got {
				if slices.Contains(got[:i], v) || strings.Contains(v, ";") {
					t.Fatalf("value %q of %q", v, got)
				}
			}
			values[name] = got
		}
		others := otherCookies(h, names)
		before := slices.DeleteFunc(pairs(lines), ours)

		cookiejar.Strip(h, names...)

		after := pairs(h["Cookie"])
		for _, pair := range after {
			if ours(pair) {
				t.Fatalf("%q is left of %q", pair, lines)
			}
		}
		// Only the first pair of a line may lose the white space before it.
		same := func(a, b string) bool {
			return a == b || strings.TrimLeft(a, " \t") == b
		}
		if !slices.EqualFunc(before, after, same) {
			t.Fatalf("other pairs were %q, are %q", before, after)
		}
		if got := otherCookies(h, names); !slices.Equal(got, others) {
			t.Fatalf("net/http saw %q, sees %q", others, got)
		}
		for name, got := range values {
			left, err := cookiejar.Values(nil, h["Cookie"], name, anyValue)
			if err == nil && len(left) > 0 {
				t.Fatalf("%s: values %q, and %q are left", name, got, left)
			}
			if req := (&http.Request{Header: h}); len(req.CookiesNamed(name)) > 0 {
				for _, c := range req.CookiesNamed(name) {
					// net/http gives a pair without '=' a name; it has no value.
					if c.Value != "" {
						t.Fatalf("net/http still sees %s=%q", name, c.Value)
					}
				}
			}
		}
		for _, line := range h["Cookie"] {
			if line == "" && !slices.Contains(lines, "") {
				t.Fatalf("an empty line is left of %q", lines)
			}
		}
		once := slices.Clone(h["Cookie"])
		cookiejar.Strip(h, names...)
		if !slices.Equal(h["Cookie"], once) {
			t.Fatalf("a second Strip made %q of %q", h["Cookie"], once)
		}
	})
}

// otherCookies returns the cookies that net/http sees, but for names.
func otherCookies(h http.Header, names []string) (all []string) {
	for _, c := range (&http.Request{Header: h}).Cookies() {
		if !slices.Contains(names, c.Name) {
			all = append(all, c.String())
		}
	}
	return all
}

func FuzzSetCookieName(f *testing.F) {
	f.Fuzz(func(t *testing.T, line string) {
		name := cookiejar.SetCookieName(line)
		if strings.ContainsAny(name, "=;") || strings.Trim(name, blanks) != name {
			t.Fatalf("%q: name %q", line, name)
		}
		if c, err := http.ParseSetCookie(line); err == nil && c.Name != name {
			t.Fatalf("%q: name %q, to net/http %q", line, name, c.Name)
		}

		// Once the lines of a name are dropped, no browser sends that name.
		h := http.Header{"Set-Cookie": {"a=1", line, "b=2"}}
		dropped := cookiejar.DropSetCookie(h, "sid")
		// Control bytes count as white space here too: browsers refuse such a
		// line, so dropping one more costs nothing.
		pair, _, _ := strings.Cut(line, ";")
		sent := strings.Trim(pair, blanks)
		if name == "" {
			sent = strings.Trim(strings.TrimPrefix(sent, "="), blanks)
		}
		sentName, _, ok := strings.Cut(sent, "=")
		want := []string{"a=1", line, "b=2"}
		if ok && strings.Trim(sentName, blanks) == "sid" {
			want = []string{"a=1", "b=2"}
		}
		if got := h["Set-Cookie"]; !slices.Equal(got, want) || len(dropped) != 3-len(got) {
			t.Fatalf("dropped %q, left %q, want %q", dropped, got, want)
		}
	})
}

func FuzzCanonicalHost(f *testing.F) {
	f.Fuzz(func(t *testing.T, hostport string) {
		host, ok := cookiejar.CanonicalHost(hostport)
		if !ok {
			if host != "" {
				t.Fatalf("%q: %q, false", hostport, host)
			}
			return
		}
		if again, ok := cookiejar.CanonicalHost(host); !ok || again != host {
			t.Fatalf("%q: %q, and of that %q, %v", hostport, host, again, ok)
		}
		if with, ok := cookiejar.CanonicalHost(host + ":8080"); !ok || with != host {
			t.Fatalf("%q: with a port %q, %v", host, with, ok)
		}
		if len(host) > 253 || strings.ToLower(host) != host || strings.HasSuffix(host, ".") {
			t.Fatalf("%q: %q", hostport, host)
		}
		for _, c := range []byte(host) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte(";,=%/@", c) >= 0 {
				t.Fatalf("%q: %q", hostport, host)
			}
		}
	})
}
