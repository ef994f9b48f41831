package cookiejar_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

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
		names := compile(t, cookiejar.Cookie{}).Names()
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
		others := otherCookies(h)
		before := slices.DeleteFunc(pairs(lines), mentions)

		cookiejar.Strip(h, names...)

		after := pairs(h["Cookie"])
		for _, pair := range after {
			if ours(pair) {
				t.Fatalf("%q is left of %q", pair, lines)
			}
		}
		after = slices.DeleteFunc(after, mentions)
		// Only the first pair of a line may lose the white space before it.
		same := func(a, b string) bool {
			return a == b || strings.TrimLeft(a, " \t") == b
		}
		if !slices.EqualFunc(before, after, same) {
			t.Fatalf("other pairs were %q, are %q", before, after)
		}
		if got := otherCookies(h); !slices.Equal(got, others) {
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

// mentions reports whether a pair has the name of a session cookie in it, in
// whatever place.
func mentions(pair string) bool { return strings.Contains(pair, "sid") }

// otherCookies returns the cookies that net/http sees and that mention no session
// cookie.
func otherCookies(h http.Header) (all []string) {
	for _, c := range (&http.Request{Header: h}).Cookies() {
		if !mentions(c.String()) {
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

// FuzzParseSetCookie holds our parser to the grammar, and to net/http where that
// accepts a line, which is far less often.
func FuzzParseSetCookie(f *testing.F) {
	for _, line := range []string{
		"a=b; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=5; Domain=.Example.com; Secure; HttpOnly; SameSite=Lax",
		"__Host-Http-a=b; Secure; HttpOnly; Path=/", "=b", "a", " a = b ;;", "a=\"b c\"; samesite=none;samesite=x",
	} {
		f.Add(line)
	}
	now := time.Unix(1.5e9, 0)
	f.Fuzz(func(t *testing.T, line string) {
		c, err := cookiejar.ParseSetCookie(line, now)
		if control := strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }); control != (err != nil && strings.Contains(err.Error(), "control")) {
			t.Fatalf("%q: control %v, %v", line, control, err)
		}
		theirs, theirErr := http.ParseSetCookie(line)
		if err != nil {
			if c != (cookiejar.SetCookie{}) || strings.Contains(line, err.Error()) {
				t.Fatalf("%q: %+v, %v", line, c, err)
			}
			return
		}
		if c.Name != strings.Trim(c.Name, " \t") || c.Value != strings.Trim(c.Value, " \t") || strings.ContainsAny(c.Name, "=;") || strings.Contains(c.Value, ";") ||
			c.Path != "" && c.Path[0] != '/' || len(c.Path) > 1024 || len(c.Name)+len(c.Value) > 4096 || c.Expires.After(now.Add(400*24*time.Hour)) {
			t.Fatalf("%q: %+v", line, c)
		}
		if name := cookiejar.SetCookieName(line); name != strings.Trim(c.Name, blanks) {
			t.Fatalf("%q: name %q, to SetCookieName %q", line, c.Name, name)
		}
		if theirErr != nil || theirs.Name == "" {
			return
		}
		value := strings.TrimSpace(c.Value)
		if theirs.Quoted {
			value = strings.Trim(value, `"`)
		}
		if theirs.Name != c.Name || strings.TrimSpace(theirs.Value) != strings.TrimSpace(value) && !strings.Contains(value, `"`) {
			t.Fatalf("%q: %q=%q, to net/http %q=%q", line, c.Name, c.Value, theirs.Name, theirs.Value)
		}
		// net/http knows each attribute once or takes the last, stops at a
		// bad one, and does not trim tabs; so compare what it is sure of.
		if strings.ContainsAny(line, "\t\"") || strings.Contains(strings.ToLower(line), "domain=.") {
			return
		}
		if theirs.Secure && !c.Secure || theirs.HttpOnly && !c.HTTPOnly {
			t.Fatalf("%q: %+v, to net/http %+v", line, c, theirs)
		}
	})
}

// FuzzJar puts any cookie into a jar, and any text into a jar's place.
func FuzzJar(f *testing.F) {
	f.Add("a=b; Path=/; Max-Age=60", `{"k":"app.example.com - / a 1 1 0 1 d"}`, "a=c; d=e")
	f.Add("__Host-a=b; Secure; Path=/", "{}", "")
	f.Fuzz(func(t *testing.T, line, text, cookies string) {
		v := keeping(t)
		const target = "https://app.example.com/dir/page"
		v.set(target, line)
		c, err := cookiejar.ParseSetCookie(line, v.now)
		sent := v.get(target)
		if err != nil && sent != "" {
			t.Fatalf("%q: %v, and %q is sent", line, err, sent)
		}
		want := c.Name + "=" + c.Value
		if c.Name == "" {
			want = c.Value
		}
		if sent != "" && sent != want || strings.ContainsAny(sent, "\r\n\x00;") {
			t.Fatalf("%q: %q is sent, want %q", line, sent, want)
		}
		// The same again changes nothing.
		if v.set(target, line); v.stored.Changes != nil && !c.Deletes(v.now) {
			t.Fatalf("%q a second time: %v", line, v.stored.Changes)
		}

		h := http.Header{"Cookie": {cookies}}
		v.keeper.Receive(h, v.context(target), text)
		if got := strings.Join(h["Cookie"], "\n"); strings.ContainsAny(got, "\r\n\x00") && !strings.ContainsAny(cookies, "\r\n\x00") {
			t.Fatalf("%q gives %q", text, got)
		}
		stored := cookiejar.StoreKept(text, v.context(target), []cookiejar.SetCookie{{Name: "new", Value: "1"}}, time.Minute)
		if len(stored.Changes) == 0 && !strings.Contains(text, " new ") {
			t.Fatalf("%q: nothing can be stored", text)
		}
	})
}

// FuzzReceive sends any Cookie line to an application that keeps, seals, signs
// and drops cookies: none of their names is left, read in whatever way.
func FuzzReceive(f *testing.F) {
	for _, line := range []string{"PHPSESSID=1; a=b", "php.x=1;=PHPSESSID=2, PHPSESSID=3", "lang=en.MDtQYXRoPS8.AAAA; prefs=AAAA", "%50HPSESSID[a]=1"} {
		f.Add(line)
	}
	v := newVisitor(f, cookiejar.Rules{
		Keep: []string{"PHPSESSID", "php_*"}, Drop: []string{"_ga*"}, Keys: []string{testKey},
		Seal: []cookiejar.WrapRule{{Names: []string{"prefs"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"lang"}}},
	})
	fold := strings.NewReplacer(".", "_", " ", "_", "[", "_")
	ours := func(name string) bool {
		name = strings.ToLower(fold.Replace(strings.Trim(name, blanks)))
		before, _, _ := strings.Cut(name, "_")
		return name == "phpsessid" || strings.HasPrefix(name, "php_") || strings.HasPrefix(name, "_ga") || name == "prefs" || name == "lang" || before == "phpsessid" && strings.Contains(name, "_]")
	}
	f.Fuzz(func(t *testing.T, line string) {
		v := v.in(t)
		h := http.Header{"Cookie": {line}}
		v.keeper.Receive(h, v.context(site), "")
		left := pairs(h["Cookie"])
		for _, pair := range left {
			name, _, _ := strings.Cut(pair, "=")
			if decoded, err := url.PathUnescape(name); ours(name) || err == nil && ours(decoded) {
				t.Fatalf("%q is left of %q", pair, line)
			}
		}
		for _, c := range (&http.Request{Header: h}).Cookies() {
			if ours(c.Name) {
				t.Fatalf("net/http sees %s of %q", c, line)
			}
		}
		// All that is left was there, in this order.
		all := pairs([]string{line})
		for _, pair := range left {
			i := slices.IndexFunc(all, func(p string) bool { return p == pair || strings.TrimLeft(p, " \t") == pair })
			if i < 0 {
				t.Fatalf("%q is new: %q became %q", pair, line, h["Cookie"])
			}
			all = all[i+1:]
		}
	})
}

// FuzzSend passes any Set-Cookie line that is not managed byte for byte, and
// hardens it without taking anything away.
func FuzzSend(f *testing.F) {
	f.Add("a=b; SameSite=None; x")
	f.Add("=; ;samesite")
	plain := newVisitor(f, cookiejar.Rules{Keep: []string{"PHPSESSID"}})
	hard := newVisitor(f, cookiejar.Rules{Harden: []cookiejar.Harden{{Secure: true, HTTPOnly: true, SameSite: "lax"}}})
	f.Fuzz(func(t *testing.T, line string) {
		plain, hard := plain.in(t), hard.in(t)
		h := http.Header{"Set-Cookie": {line}}
		taken := plain.keeper.Take(h, "", plain.context(site), cookiejar.Incoming{})
		if name := cookiejar.SetCookieName(line); taken.Lines == 0 && name != "" {
			if got, _ := plain.sent(https, line); !slices.Equal(got, []string{line}) {
				t.Fatalf("%q became %q", line, got)
			}
		}
		got, _ := hard.sent(https, line)
		before, err := cookiejar.ParseSetCookie(line, hard.now)
		if err != nil || before.Deletes(hard.now) {
			if !slices.Equal(got, []string{line}) {
				t.Fatalf("%q became %q", line, got)
			}
			return
		}
		after, err := cookiejar.ParseSetCookie(got[0], hard.now)
		if err != nil || !after.Secure || !after.HTTPOnly || after.SameSite < cookiejar.SameSiteLax {
			t.Fatalf("%q became %q: %+v, %v", line, got, after, err)
		}
		after.Secure, after.HTTPOnly, after.SameSite = before.Secure, before.HTTPOnly, before.SameSite
		if after != before {
			t.Fatalf("%q became %q: %+v was %+v", line, got, after, before)
		}
		if again, _ := hard.sent(https, got[0]); again[0] != got[0] {
			t.Fatalf("%q became %q, then %q", line, got, again)
		}
	})
}

// FuzzOpen: what is made opens as it was, and nothing else opens.
func FuzzOpen(f *testing.F) {
	f.Add("en", "en.MDtQYXRoPS8.AAAA")
	f.Add("a;b", "s%3Aen.coguYsK00RWb1yWIZmcoIOnUnEiYlj7Q%2BLdq0PyeYSL")
	v := wrapping(f)
	f.Fuzz(func(t *testing.T, value, forged string) {
		v := v.in(t)
		for _, name := range []string{"prefs", "lang", "node"} {
			line := name + "=" + value
			c, err := cookiejar.ParseSetCookie(line, v.now)
			lines, ignored := v.sent(https, line)
			if err == nil && len(lines) == 1 && !c.Deletes(v.now) {
				pair, _, _ := strings.Cut(lines[0], ";")
				got := v.send(https, pair)
				if want := name + "=" + c.Value; name != "node" && !slices.Equal(got, []string{want}) || len(got) != 1 {
					t.Fatalf("%q is sent as %q, which becomes %q", line, lines, got)
				}
			} else if len(ignored)+len(lines) != 1 {
				t.Fatalf("%q: sent %q, ignored %v", line, lines, ignored)
			}
			if got := v.send(https, name+"="+strings.ReplaceAll(forged, ";", "")); got != nil && name != "node" {
				t.Fatalf("%s=%q becomes %q", name, forged, got)
			}
		}
	})
}
