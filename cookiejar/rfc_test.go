package cookiejar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
)

// TestHTTPState is the behaviour that the test suite of RFC 6265 asks for
// (github.com/abarth/http-state, tests/data/parser.json, by the names of its
// tests), as far as RFC 6265bis has not changed it: there, a cookie may have no
// name. Cookies are set on http://home.example.org:8888/cookie-parser and, but
// for "to", sent to /cookie-parser-result.
func TestHTTPState(t *testing.T) {
	set := func(lines ...string) []string { return lines }
	for _, test := range []struct {
		name     string
		received []string
		to       string
		sent     string
	}{
		{"0001", set("foo=bar"), "", "foo=bar"},
		{"0002", set("foo=bar; Expires=Fri, 07 Aug 2019 08:04:19 GMT"), "", "foo=bar"},
		{"0003", set("foo=bar; Expires=Fri, 07 Aug 2007 08:04:19 GMT", "foo2=bar2; Expires=Fri, 07 Aug 2017 08:04:19 GMT"), "", "foo2=bar2"},
		{"0004, in RFC 6265bis", set("foo"), "", "foo"},
		{"0005", set("foo=bar; max-age=10000;"), "", "foo=bar"},
		{"0006", set("foo=bar; max-age=0;"), "", ""},
		{"0007", set("foo=bar; version=1;"), "", "foo=bar"},
		{"0010", set("foo=bar; secure;"), "", ""},
		{"0011", set(`foo=bar; customvalue="1000 or more";`), "", "foo=bar"},
		{"0013", set("foo=bar", "foo=qux"), "", "foo=qux"},
		{"0014", set("foo1=bar", "foo2=qux"), "", "foo1=bar; foo2=qux"},
		{"0015", set("a=b", "z=y"), "", "a=b; z=y"},
		{"0016", set("z=y", "a=b"), "", "z=y; a=b"},
		{"0017", set("z=y, a=b"), "", "z=y, a=b"},
		{"0018", set("z=y; foo=bar, a=b"), "", "z=y"},
		{"0019", set("foo=b;max-age=3600, c=d;path=/"), "", "foo=b"},
		{"0020", set("a=b", "=", "c=d"), "", "a=b; c=d"},
		{"0021, in RFC 6265bis", set("a=b", "=x", "c=d"), "", "a=b; x; c=d"},
		{"0022", set("a=b", "x=", "c=d"), "", "a=b; x=; c=d"},
		{"0025", set("; bar"), "", ""},
		{"0026", set("   "), "", ""},

		{"ATTRIBUTE0001", set("foo=bar; Secure"), "", ""},
		{"ATTRIBUTE0002", set("foo=bar; seCURe"), "", ""},
		{"ATTRIBUTE0003", set(`foo=bar; "Secure"`), "", "foo=bar"},
		{"ATTRIBUTE0005", set("foo=bar; Secure=aaaa"), "", ""},
		{"ATTRIBUTE0006", set("foo=bar; Secure qux"), "", "foo=bar"},
		{"ATTRIBUTE0007", set("foo=bar; Secure =aaaaa"), "", ""},
		{"ATTRIBUTE0011", set("foo=bar; Secure    ; qux"), "", ""},
		{"ATTRIBUTE0012", set("foo=bar;                Secure"), "", ""},
		{"ATTRIBUTE0014", set("foo=bar; Path"), "", "foo=bar"},
		{"ATTRIBUTE0017", set("foo=bar; Path=/qux"), "", ""},
		{"ATTRIBUTE0018", set("foo=bar; Path    =/qux"), "", ""},
		{"ATTRIBUTE0019", set("foo=bar; Path=    /qux"), "", ""},
		{"ATTRIBUTE0021", set("foo=bar; Path=/qux; Path=/"), "", "foo=bar"},
		{"ATTRIBUTE0022", set("foo=bar; Path=/; Path=/qux"), "", ""},
		{"ATTRIBUTE0023", set("foo=bar; Path=/qux; Path=/cookie-parser-result"), "", "foo=bar"},
		{"ATTRIBUTE0024", set("foo=bar; Path=/cookie-parser-result; Path=/qux"), "", ""},
		{"ATTRIBUTE0026", set(`foo=bar; qux="aaa;bbb"; Secure`), "", ""},

		{"CHARSET0002", set("\u6625\u8282\u56de=\u5bb6\u8def\u00b7\u6625"), "", "\u6625\u8282\u56de=\u5bb6\u8def\u00b7\u6625"},
		{"CHARSET0003", set("\u6625=\u5bb6; \u5b8c"), "", "\u6625=\u5bb6"},
		{"CHROMIUM0002", set(`aBc="zzz "   ;`), "", `aBc="zzz "`},
		{"CHROMIUM0004", set(`aBc="zz;pp" ; ;`), "", `aBc="zz`},
		{"CHROMIUM0006", set(`aBc="zzz "   "ppp"  ;`), "", `aBc="zzz "   "ppp"`},
		{"CHROMIUM0008", set(`aBc=A"B ;`), "", `aBc=A"B`},
		{"CHROMIUM0013", set("ABC=;  path = /"), "", "ABC="},
		{"CHROMIUM0014", set("  A  = BC  ;foo;;;   bar"), "", "A=BC"},
		{"CHROMIUM0015", set("  A=== BC  ;foo;;;   bar"), "", "A=== BC"},
		{"CHROMIUM0016", set(`foo="zohNumRKgI0oxyhSsV3Z7D"  ; expires=Sun, 18-Apr-2027 21:06:29 GMT ; path=/  ;  `), "", `foo="zohNumRKgI0oxyhSsV3Z7D"`},
		{"CHROMIUM0019", set(strings.Repeat("a", 4097)), "", ""},
		{"DISABLED_CHROMIUM0022", set("AAA=BB\x00ZYX"), "", ""},
		{"DISABLED_CHROMIUM0023", set("AAA=BB\rZYX"), "", ""},
		{"COMMA0005", set("foo=bar; Max-Age=50,399"), "", "foo=bar"},
		{"COMMA0007", set("foo=bar; Expires=Fri 07 Aug 2019 08:04:19 GMT, baz=qux"), "", "foo=bar"},

		{"DOMAIN0001", set("foo=bar; domain=home.example.org"), "", "foo=bar"},
		{"DOMAIN0002", set("foo=bar; domain=home.example.org"), "http://sibling.example.org:8888/", ""},
		{"DOMAIN0003", set("foo=bar; domain=.home.example.org"), "", "foo=bar"},
		{"DOMAIN0004, but partitioned by host", set("foo=bar; domain=home.example.org"), "http://subdomain.home.example.org:8888/cookie-parser-result", ""},
		{"DOMAIN0006", set("foo=bar; domain=.home.example.org"), "http://sibling.example.org:8888/cookie-parser-result", ""},
		{"DOMAIN0007", set("foo=bar; domain=sibling.example.org"), "http://sibling.example.org:8888/cookie-parser-result", ""},
		{"DOMAIN0008", set("foo=bar; domain=.example.org"), "", "foo=bar"},
		{"DOMAIN0010", set("foo=bar; domain=..home.example.org"), "", ""},
		{"DOMAIN0011", set("foo=bar; domain=home..example.org"), "", ""},
		{"DOMAIN0012", set("foo=bar; domain=  .home.example.org"), "", "foo=bar"},
		{"DOMAIN0013", set("foo=bar; domain=  .  home.example.org"), "", ""},
		{"DOMAIN0014", set("foo=bar; domain=home.example.org."), "", ""},
		{"DOMAIN0017", set("foo=bar; domain=.org"), "", ""},
		{"DOMAIN0019", set("foo=bar; domain=home.example.org", "foo2=bar2; domain=.home.example.org"), "", "foo=bar; foo2=bar2"},
		{"DOMAIN0021", set(`foo=bar; domain="home.example.org"`), "", ""},
		{"DOMAIN0022", set("foo=bar; domain=home.example.org", "foo2=bar2; domain=.example.org"), "", "foo=bar; foo2=bar2"},
		{"DOMAIN0026", set("foo=bar; domain=home.eXaMpLe.org"), "", "foo=bar"},
		{"DOMAIN0027", set("foo=bar; domain=home.example.org:8888"), "", ""},
		{"DOMAIN0028", set("foo=bar; domain=subdomain.home.example.org"), "http://subdomain.home.example.org:8888/", ""},
		{"DOMAIN0029", set("foo=bar"), "http://subdomain.home.example.org:8888/", ""},
		{"DOMAIN0033", set("foo=bar; domain=home.example.org"), "http://hoMe.eXaMplE.org:8888/cookie-parser-result", "foo=bar"},
		{"DOMAIN0034", set("foo=bar; domain=home.example.org; domain=home.example.com"), "", ""},
		{"DOMAIN0035", set("foo=bar; domain=home.example.com; domain=home.example.org"), "", "foo=bar"},
		{"DOMAIN0041", set("foo=bar; domain=.sibling.example.org"), "http://sibling.example.org:8888/", ""},
		{"OPTIONAL_DOMAIN0030", set("foo=bar; domain="), "", "foo=bar"},
		{"OPTIONAL_DOMAIN0041", set("foo=bar; domain=example.org; domain="), "", "foo=bar"},
		{"OPTIONAL_DOMAIN0042, in RFC 6265bis", set("foo=bar; domain=foo.example.org; domain="), "", "foo=bar"},

		{"MOZILLA0001", set("foo=bar; max-age=-1"), "", ""},
		{"MOZILLA0003", set("foo=bar; expires=Thu, 10 Apr 1980 16:33:12 GMT"), "", ""},
		{"MOZILLA0009", set("foo=bar; max-age=60", "foo1=bar; max-age=60", "foo=differentvalue; max-age=0"), "", "foo1=bar"},
		{"MOZILLA0010", set("foo=bar; max-age=60", "foo1=bar; max-age=60", "foo=differentvalue; max-age=0", "foo2=evendifferentvalue; max-age=0"), "", "foo1=bar"},
		{"MOZILLA0011", set("test=parser; domain=.parser.test; ;; ;=; ,,, ===,abc,=; abracadabra! max-age=20;=;;"), "", ""},
		{"MOZILLA0012, in RFC 6265bis", set(`test="fubar! = foo;bar\";" parser; max-age=6`, "five; max-age=2.63,"), "", `test="fubar! = foo; five`},

		{"NAME0003", set("$=bar"), "", "$=bar"},
		{"NAME0017, in RFC 6265bis", set("=a=bar"), "", "a=bar"},
		{"NAME0018", set("a =bar"), "", "a=bar"},
		{"NAME0020", set(`"a=b"=bar`), "", `"a=b"=bar`},
		{"NAME0021", set(`"a=b"=bar`, `"a=qux`), "", `"a=qux`},
		{"NAME0022", set("   foo=bar"), "", "foo=bar"},
		{"NAME0024", set("$Version=1; foo=bar"), "", "$Version=1"},
		{"NAME0026", set("foo=bar    "), "", "foo=bar"},
		{"NAME0030", set("foo bar=baz"), "", "foo bar=baz"},

		{"ORDERING0001", set(
			"key=val0;", "key=val1; path=/cookie-parser-result", "key=val2; path=/", "key=val3; path=/bar",
			"key=val4; domain=.example.org", "key=val5; domain=.example.org; path=/cookie-parser-result/foo",
		), "http://home.example.org:8888/cookie-parser-result/foo/baz", "key=val5; key=val1; key=val2; key=val4"},

		{"PATH0001", set("a=b; path=/", "x=y; path=/cookie-parser-result"), "", "x=y; a=b"},
		{"PATH0002", set("a=b; path=/cookie-parser-result", "x=y; path=/"), "", "a=b; x=y"},
		{"PATH0005", set("foo=bar; path=/cookie-parser-result/foo"), "", ""},
		{"PATH0006", set("foo=bar", "foo=qux; path=/cookie-parser-result/foo"), "", "foo=bar"},
		{"PATH0007", set("foo=bar; path=/cookie-parser-result/foo"), "http://home.example.org/cookie-parser-result/foo", "foo=bar"},
		{"PATH0009", set("foo=bar; path=/cookie-parser-result/foo/qux"), "http://home.example.org/cookie-parser-result/foo", ""},
		{"PATH0014", set("foo=bar; path=/cookie-parser-result/foo/qux/"), "http://home.example.org/cookie-parser-result/foo/qux", ""},
		{"PATH0015", set("foo=bar; path=/cookie-parser-result/foo/qux/"), "http://home.example.org/cookie-parser-result/foo/qux/", "foo=bar"},
		{"PATH0017", set("foo=bar; path=/cookie-parser-result/foo/"), "http://home.example.org/cookie-parser-result/foo//qux", "foo=bar"},
		{"PATH0018", set("foo=bar; path=/cookie-parser-result/foo/"), "http://home.example.org/cookie-parser-result/fooqux", ""},
		{"PATH0022", set("foo=bar; path= /"), "", "foo=bar"},
		{"PATH0023", set("foo=bar; Path=/cookie-PARSER-result"), "", ""},
		{"PATH0024", set("foo=bar; path=/cookie-parser-result/foo/qux?"), "http://home.example.org/cookie-parser-result/foo/qux", ""},
		{"PATH0026", set("foo=bar; path=/cookie-parser-result/foo/qux;"), "http://home.example.org/cookie-parser-result/foo/qux", "foo=bar"},
		{"PATH0027, in RFC 6265bis", set(`foo=bar; path="/cookie-parser-result/foo/qux;"`), "http://home.example.org/cookie-parser-result/foo/qux", "foo=bar"},
		{"PATH0028", set("foo=bar; path=/cookie-parser-result/f%6Fo/bar"), "http://home.example.org/cookie-parser-result/foo/bar", ""},
		{"PATH0029", set("a=b;       path    =       /cookie-parser-result   ", "x=y;       path    =       /book   "), "", "a=b"},
		{"PATH0030", set("foo=bar; path=/dog; path="), "", "foo=bar"},
		{"PATH0031", set("foo=bar; path=; path=/dog"), "", ""},
		{"PATH0032", set("foo=bar; path=/cookie-parser-result", "foo=qux; path=/cookie-parser-result/"), "http://home.example.org/cookie-parser-result/dog", "foo=qux; foo=bar"},

		{"VALUE0001", set("foo=  bar"), "", "foo=bar"},
		{"VALUE0003", set(`foo="  bar "`), "", `foo="  bar "`},
		{"VALUE0004", set(`foo="bar;baz"`), "", `foo="bar`},
		{"VALUE0005", set(`foo="bar=baz"`), "", `foo="bar=baz"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := keeping(t)
			for _, line := range test.received {
				v.set("http://home.example.org:8888/cookie-parser", line)
				v.now = v.now.Add(time.Millisecond)
			}
			if test.to == "" {
				test.to = "http://home.example.org:8888/cookie-parser-result"
			}
			v.wants(test.to, test.sent)

			// All in one response is the same.
			v = keeping(t)
			v.set("http://home.example.org:8888/cookie-parser", test.received...)
			v.wants(test.to, test.sent)
		})
	}
}

// TestDates has the dates of http-state (tests/data/dates/examples.json), which
// were found on real servers, then cases of the algorithm in RFC 6265bis 5.1.1.
func TestDates(t *testing.T) {
	for text, want := range map[string]string{
		"Mon, 10-Dec-2007 17:02:24 GMT":           "2007-12-10 17:02:24",
		"Wed, 09 Dec 2009 16:27:23 GMT":           "2009-12-09 16:27:23",
		"Thursday, 01-Jan-1970 00:00:00 GMT":      "1970-01-01 00:00:00",
		"Mon Dec 10 16:32:30 2007 GMT":            "2007-12-10 16:32:30",
		"Wednesday, 01-Jan-10 00:00:00 GMT":       "2010-01-01 00:00:00",
		"Mon, 10-Dec-07 20:35:03 GMT":             "2007-12-10 20:35:03",
		"Sun,  9 Dec 2012 13:42:05 GMT":           "2012-12-09 13:42:05",
		"Wed Dec 12 2007 08:44:07 GMT-0500 (EST)": "2007-12-12 08:44:07",
		"Wednesday, 01-Jan-10 0:0:00 GMT":         "2010-01-01 00:00:00",
		"Thu, 10 Dec 2009 13:57:2 GMT":            "2009-12-10 13:57:02",
		"Thu, 31 Dec 23:55:55 2009 GMT":           "2009-12-31 23:55:55",
		"Mon, 01-Jan-2011 00: 00:00 GMT":          "",

		"2009 3 february 01:02:03":      "2009-02-03 01:02:03", // 2009 is too long for a day, 3 too short for a year
		"3 february 2009 01:02:03":      "2009-02-03 01:02:03",
		"01:02:03x 3x FEBxyz 09x":       "2009-02-03 01:02:03",
		"01:02:030 3 Feb 2009":          "", // a digit may not follow
		"1:2:3 03 Feb 69":               "2069-02-03 01:02:03",
		"1:2:3 03 Feb 70":               "1970-02-03 01:02:03",
		"1:2:3 03 Feb 170":              "", // before 1601
		"00:00:00 29 Feb 2000":          "2000-02-29 00:00:00",
		"00:00:00 29 Feb 2001":          "",
		"00:00:00 31 Apr 2001":          "",
		"00:00:00 0 Apr 2001":           "",
		"24:00:00 1 Apr 2001":           "",
		"23:60:00 1 Apr 2001":           "",
		"23:59:60 1 Apr 2001":           "",
		"23:59 1 Apr 2001":              "",
		"1 Apr 2001":                    "",
		"00:00:00 1 Ap 2001":            "",
		"00:00:00 1 2 Apr":              "", // one digit is no year
		"00:00:00 1 Apr 20011":          "",
		"11:11:11 22:22:22 1 Apr 2001":  "2001-04-22 11:11:11", // anything may follow a day
		"\"1!Apr\"2001#00;00:00":        "",
		"00:00:00\t1-Apr/2001":          "2001-04-01 00:00:00",
		"":                              "",
		"00:00:00 1 Apr 1601":           "1601-04-01 00:00:00",
		"\u0660\u0660:00:00 1 Apr 2001": "",
	} {
		c, err := cookiejar.ParseSetCookie("a=b; Expires="+text, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := ""
		if !c.Expires.IsZero() {
			got = c.Expires.Format(time.DateTime)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestParseSetCookie is RFC 6265bis 5.6 and the checks of 5.7 that need no
// request, by section.
func TestParseSetCookie(t *testing.T) {
	now := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(d time.Duration) time.Time { return now.Add(d) }
	const day = 24 * time.Hour
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct {
		section, line string
		want          cookiejar.SetCookie
		err           string
	}{
		{"5.6 step 1: controls", "a=b\x01", cookiejar.SetCookie{}, "control character"},
		{"5.6 step 1: in attributes", "a=b; x=\x7f", cookiejar.SetCookie{}, "control character"},
		{"5.6 step 1: line feed", "a=b\nSet-Cookie: c=d", cookiejar.SetCookie{}, "control character"},
		{"5.6 step 1: a tab is none", "a=b\tc", cookiejar.SetCookie{Name: "a", Value: "b\tc"}, ""},
		{"5.6 step 5: 4096 bytes", "a=" + x(4095), cookiejar.SetCookie{Name: "a", Value: x(4095)}, ""},
		{"5.6 step 5: 4097 bytes", "a=" + x(4096), cookiejar.SetCookie{}, "more than 4096"},
		{"5.6 step 5: of name", x(4000) + "=" + x(97), cookiejar.SetCookie{}, "more than 4096"},
		{"5.6: attribute of 1024 bytes", "a=b; Path=/" + x(1023), cookiejar.SetCookie{Name: "a", Value: "b", Path: "/" + x(1023)}, ""},
		{"5.6: attribute of 1025 bytes", "a=b; Path=/" + x(1024), cookiejar.SetCookie{Name: "a", Value: "b"}, ""},
		{"5.6: the long one does not count", "a=b; Path=/c; Path=/" + x(1024), cookiejar.SetCookie{Name: "a", Value: "b", Path: "/c"}, ""},
		{"5.6.1: Expires", "a=b; expires=Sat, 02 Jan 2010 00:00:00 GMT", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(day)}, ""},
		{"5.6.1: 400 days at most", "a=b; expires=Sat, 02 Jan 2030 00:00:00 GMT", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(400 * day)}, ""},
		{"5.6.1: the last one counts", "a=b; expires=Sat, 02 Jan 2010 00:00:00 GMT; Expires=Sun, 03 Jan 2010 00:00:00 GMT; expires=x", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(2 * day)}, ""},
		{"5.6.2: Max-Age", "a=b; max-AGE=86400", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(day)}, ""},
		{"5.6.2: 400 days at most", "a=b; max-age=99999999", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(400 * day)}, ""},
		{"5.6.2: more than fits", "a=b; max-age=" + strings.Repeat("9", 1000), cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(400 * day)}, ""},
		{"5.6.2: leading zeros", "a=b; max-age=" + strings.Repeat("0", 1000) + "7", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(7 * time.Second)}, ""},
		{"5.6.2: zero", "a=b; max-age=0", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(-time.Second)}, ""},
		{"5.6.2: negative", "a=b; max-age=-99", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(-time.Second)}, ""},
		{"5.6.2: not a number", "a=b; max-age=+1; max-age=1.5; max-age=; max-age=1s; max-age=--1", cookiejar.SetCookie{Name: "a", Value: "b"}, ""},
		{"5.6.2: before Expires", "a=b; max-age=60; expires=Sat, 02 Jan 2010 00:00:00 GMT", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(time.Minute)}, ""},
		{"5.6.2: after Expires", "a=b; expires=Sat, 02 Jan 2010 00:00:00 GMT; max-age=60", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(time.Minute)}, ""},
		{"5.6.2: a bad one does not count", "a=b; expires=Sat, 02 Jan 2010 00:00:00 GMT; max-age=x", cookiejar.SetCookie{Name: "a", Value: "b", Expires: in(day)}, ""},
		{"5.6.3: Domain", "a=b; Domain=.Example.COM", cookiejar.SetCookie{Name: "a", Value: "b", Domain: "example.com"}, ""},
		{"5.6.4: Path", "a=b; Path=/c; path=d", cookiejar.SetCookie{Name: "a", Value: "b"}, ""},
		{"5.6.5, 5.6.6", "a=b; SECURE=no; httponly=0", cookiejar.SetCookie{Name: "a", Value: "b", Secure: true, HTTPOnly: true}, ""},
		{"5.6.7: Strict", "a=b; samesite=STRICT", cookiejar.SetCookie{Name: "a", Value: "b", SameSite: cookiejar.SameSiteStrict}, ""},
		{"5.6.7: the last one counts", "a=b; samesite=None; SameSite=Lax", cookiejar.SetCookie{Name: "a", Value: "b", SameSite: cookiejar.SameSiteLax}, ""},
		{"5.6.7: unknown", "a=b; samesite=None; SameSite=x", cookiejar.SetCookie{Name: "a", Value: "b"}, ""},
		{"5.7: nothing", " = ; Path=/", cookiejar.SetCookie{}, "neither"},
		{"5.7: nameless", "=b", cookiejar.SetCookie{Value: "b"}, ""},
		{"5.7: nameless with a prefix", "=__SECURE-a=b", cookiejar.SetCookie{}, "prefix of a name"},
		{"5.7: nameless with another", "__host-a", cookiejar.SetCookie{}, "prefix of a name"},
		{"5.7: __Secure- without", "__sECURE-a=b", cookiejar.SetCookie{}, "asks for"},
		{"5.7: __Secure-", "__Secure-a=b; Secure; Domain=x", cookiejar.SetCookie{Name: "__Secure-a", Value: "b", Secure: true, Domain: "x"}, ""},
		{"5.7: __Host-", "__Host-a=b; Secure; Path=/", cookiejar.SetCookie{Name: "__Host-a", Value: "b", Secure: true, Path: "/"}, ""},
		{"5.7: __Host- without Path", "__Host-a=b; Secure", cookiejar.SetCookie{}, "asks for"},
		{"5.7: __Host- with another Path", "__Host-a=b; Secure; Path=/c", cookiejar.SetCookie{}, "asks for"},
		{"5.7: __Host- with Domain", "__HOST-a=b; Secure; Path=/; Domain=x", cookiejar.SetCookie{}, "asks for"},
		{"5.7: __Host- with empty Domain", "__Host-a=b; Secure; Path=/; Domain=", cookiejar.SetCookie{Name: "__Host-a", Value: "b", Secure: true, Path: "/"}, ""},
		{"layered-cookies: __Http-", "__Http-a=b; Secure", cookiejar.SetCookie{}, "asks for"},
		{"layered-cookies: __Http- right", "__Http-a=b; Secure; HttpOnly", cookiejar.SetCookie{Name: "__Http-a", Value: "b", Secure: true, HTTPOnly: true}, ""},
		{"layered-cookies: __Host-Http-", "__Host-Http-a=b; Secure; Path=/", cookiejar.SetCookie{}, "asks for"},
		{"layered-cookies: __Host-Http- right", "__host-http-a=b; Secure; Path=/; HttpOnly", cookiejar.SetCookie{Name: "__host-http-a", Value: "b", Secure: true, HTTPOnly: true, Path: "/"}, ""},
	} {
		got, err := cookiejar.ParseSetCookie(test.line, now)
		switch {
		case test.err == "" && (err != nil || got != test.want):
			t.Errorf("%s: %+v, %v, want %+v", test.section, got, err, test.want)
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%s: %+v, %v, want an error with %q", test.section, got, err, test.err)
		}
	}
}
