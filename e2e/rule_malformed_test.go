package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// keys returns an object with n keys.
func keys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%x":1`, i)
	}
	return "{" + b.String()[1:] + "}"
}

// nested returns objects in each other, n deep.
func nested(n int) string { return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1) }

func TestRule4MalformedHeadersAreRefused(t *testing.T) {
	const good = "X-Session-Set: {\"n\":1}\r\n"
	set := func(value string) string { return "X-Session-Set: " + value + "\r\n" }
	tests := []struct {
		name  string
		lines string
		says  string // in the log
	}{
		{"broken JSON", set(`{"user":"s3cret"`), "Set: the JSON ends too early"},
		{"broken JSON in the middle", set(`{"user":"s3cret" "x":1}`), "Set: "},
		{"no pair", set("s3cret"), "pair 1 is not KEY=VALUE"},
		{"array", set(`[1]`), "pair 1 is not KEY=VALUE"},
		{"null", set(`null`), "pair 1 is not KEY=VALUE"},
		{"empty", set(""), "Set: the value is empty"},
		{"blank", set(" \t "), "Set: the value is empty"},
		{"object, then something", set(`{"n":1} s3cret`), "something follows the JSON object"},
		{"object, then a form", set(`{"n":1},user=s3cret`), "Set: "},
		{"duplicate key", set(`{"user":"s3cret","user":"mallory"}`), `key \"user\" twice`},
		{"duplicate key, escaped", set(`{"user":"s3cret","us\u0065r":"mallory"}`), `key \"user\" twice`},
		{"duplicate key below", set(`{"a":{"b":1,"b":2}}`), `key \"b\" twice`},
		{"duplicate key in a form", set("a=s3cret&a=2"), `key \"a\" twice`},
		{"comma in a form", set("user=alice,lang=fr"), "%2C"},
		{"bad key in a form", set("us er=s3cret"), "us er"},
		{"bad percent in a form", set("user=s3cret%zz"), "not percent-encoded correctly"},
		{"Latin-1", set("{\"name\":\"s3cret J\xfcrgen\"}"), `\\uXXXX`},
		{"Latin-1 in a form", set("name=s3cret%FC"), "percent-encoded"},
		{"too deep", set(nested(33)), "nested deeper than 32"},
		{"too many keys", set(keys(1025)), "1025 keys or more in one object, 1024 are allowed"},
		{"long key", set(`{"` + strings.Repeat("k", 257) + `":"s3cret"}`), "has 257 bytes, more than 256"},
		{"over max_data", set("n=" + strings.Repeat("x", 9000)), "9002 bytes, more than the 8192 of max_data"},
		{"over max_data together", strings.Repeat(set("n="+strings.Repeat("x", 3000)), 3), "9006 bytes, more than the 8192 of max_data"},
		{"over exposed", set("n=" + strings.Repeat("x", 5000)), "bytes of headers, 4096 are allowed"},
		{"no key to unset", "X-Session-Unset: ,\r\n", "Unset: no key is named"},
		{"unset in Latin-1", "X-Session-Unset: n\xfc\r\n", `\\uXXXX`},
		{"unknown directive", "X-Session-Control: renwe\r\n", `unknown directive \"renwe\"`},
		{"known and unknown directive", "X-Session-Control: renew, destory\r\n", `unknown directive \"destory\"`},
		{"no directive", "X-Session-Control:\r\n", "Control: no directive is named"},
		{"max-age without number", "X-Session-Control: max-age\r\n", "max-age needs a number"},
		{"max-age negative", "X-Session-Control: max-age=-1\r\n", `\"-1\" is not a number`},
		{"max-age twice", "X-Session-Control: max-age=1, max-age=2\r\n", "max-age twice"},
		{"argument of renew", "X-Session-Control: renew=1\r\n", "renew takes no argument"},
		{"if-version in words", "X-Session-Control: if-version=one\r\n", `\"one\" is not a number`},

		{"destroy does not win over what is malformed", set("s3cret") + "X-Session-Control: destroy\r\n", "pair 1 is not KEY=VALUE"},
		{"clear, then a bad Set", "X-Session-Control: clear\r\n" + set("{"), "the JSON ends too early"},
		{"good Set, bad Set", good + set("{"), "the JSON ends too early"},
		{"bad Set, good Set", set("{") + good, "the JSON ends too early"},
		{"good Set, bad Unset", good + "X-Session-Unset: ,\r\n", "no key is named"},
		{"good Set, bad Control", good + "X-Session-Control: nonsense\r\n", "unknown directive"},
	}
	var responses []string
	for _, tt := range tests {
		responses = append(responses, saying("302 Found", "Location: /withheld\r\nSet-Cookie: withheld=1\r\nX-App: withheld\r\n"+tt.lines))
	}
	u := upstream(t, numbered(responses...))
	a := app(t, scripted)
	s := serve(t, probed, "session {\n\tmax_data 8KiB\n}\nhandle /see {\nreverse_proxy "+a.host()+"\n}\nreverse_proxy "+u.addr+
		"\nhandle_errors {\n\trespond \"{err.status_code}\"\n}")
	cookie := s.get("/see?set=user%3Dalice", "").cookie()
	for i, tt := range tests {
		path := fmt.Sprintf("/%d", i)
		for _, c := range []string{"", cookie} {
			r := s.get(path, c)
			if r.StatusCode != http.StatusBadGateway || r.body != "502" || strings.Contains(r.raw, "withheld") || r.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s: the client gets %q", tt.name, r.raw)
			}
			noSessionHeaders(t, r.raw)
		}
		errors := s.logged(`"level":"error"`, fmt.Sprintf(`"path":"%s"`, path))
		if len(errors) != 1 || !strings.Contains(errors[0], "refusing a response") || !strings.Contains(errors[0], tt.says) { // once for both
			t.Errorf("%s: the log says %q", tt.name, errors)
		}
		if r := s.get("/see", cookie); !strings.Contains(r.body, `user=alice data={"user":"alice"} version=1`) {
			t.Fatalf("%s: the session has become %q", tt.name, r.body)
		}
	}
	if lines := s.logged(`"level":"error"`, "s3cret"); lines != nil {
		t.Errorf("the log quotes values: %q", lines)
	}
}

// What is allowed is not refused: the limits are where they are said to be.
func TestRule7WithinTheLimits(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session {\n\tmax_data 16KiB\n\texposed 16KiB\n}\nreverse_proxy "+a.host())
	for name, value := range map[string]string{
		"empty object":   `{}`,
		"empty value":    "draft=",
		"two objects":    `{"a":1},{"b":2}`,
		"UTF-8":          "{\"name\":\"J\u00fcrgen \U0001F600\"}",
		"deep":           nested(32),
		"many keys":      keys(1024),
		"long key":       `{"` + strings.Repeat("k", 256) + `":1}`,
		"number as user": `{"user":42}`,
		"no user":        `{"user":null}`,
		"large":          `{"x":"` + strings.Repeat("x", 16384-8) + `"}`,
	} {
		if r := s.get("/?set="+url.QueryEscape(value), ""); r.StatusCode != http.StatusOK || r.cookie() == "" {
			t.Errorf("%s: %.300q", name, r.raw)
		}
	}
}

// Many small patches can exceed what each of them does not.
func TestRule7LimitsHoldForTheSum(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, probed, "session {\n\tmax_data 2KiB\n}\nreverse_proxy "+a.host())
	cookie := s.signIn("alice")
	half := strings.Repeat("x", 1100)
	if r := s.get("/?set=a%3D"+half, cookie); r.StatusCode != http.StatusOK {
		t.Fatalf("%q", r.raw)
	}
	if r := s.get("/?set=b%3D"+half, cookie); r.StatusCode != http.StatusBadGateway {
		t.Errorf("2200 bytes are accepted: %.200q", r.raw)
	}
	if s.logged("the session would have 2", "more than the 2048 of max_data") == nil {
		t.Errorf("the log does not say both numbers: %q", s.logged(`"level":"error"`))
	}
	if r := s.get("/?set=b%3D"+half+"&unset=a", cookie); r.StatusCode != http.StatusOK {
		t.Errorf("replacing: %.200q", r.raw)
	}
}

func TestRule7ExposedWasLowered(t *testing.T) {
	a := app(t, scripted)
	site := func(exposed, more string) string {
		return "session {\n\texposed " + exposed + "\n" + more + "}\nreverse_proxy " + a.host()
	}
	s := serve(t, probed, site("8KiB", ""))
	cookie := s.get("/?set=user%3Dalice%26x%3D"+strings.Repeat("x", 5000), "").cookie()

	s.load(probed, site("4KiB", ""))
	before := len(a.requests)
	r := s.get("/", cookie)
	if r.StatusCode != http.StatusInternalServerError || len(a.requests) != before || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("a session over the limit: %.300q", r.raw)
	}
	if s.logged(`"level":"error"`, sessionID(cookie), "50", "bytes of headers, 4096 are allowed") == nil {
		t.Errorf("log: %q", s.logged(`"level":"error"`))
	}
	if r := s.get("/", ""); r.StatusCode != http.StatusOK {
		t.Errorf("anonymous: %q", r.raw)
	}

	// Single keys may fit where all data does not; so it was not lost either.
	s.load(probed, site("4KiB", "forward user\n"))
	if r := s.get("/", cookie); r.StatusCode != http.StatusOK || !strings.Contains(r.body, "user=alice") {
		t.Errorf("with forward: %.300q", r.raw)
	}
}

func TestIfVersion(t *testing.T) {
	u := app(t, scripted)
	s := serve(t, probed, "session\nreverse_proxy "+u.host()+"\nhandle_errors {\n\trespond \"{err.status_code}\"\n}")
	cookie := s.signIn("alice")
	for _, tt := range []struct {
		why, target, cookie string
		status              int
	}{
		{"another version", "/?set=n%3D1&control=if-version%3D2", cookie, 409},
		{"no version", "/?set=n%3D1&control=if-version%3D0", cookie, 409},
		{"no session", "/?set=n%3D1&control=if-version%3D1", "", 409},
		{"only asking", "/?control=if-version%3D7", cookie, 409},
		{"no session, as expected", "/?set=n%3D1&control=if-version%3D0", "", 200},
		{"this version", "/?set=n%3D1&control=if-version%3D1", cookie, 200},
		{"the version before", "/?set=n%3D2&control=if-version%3D1", cookie, 409},
	} {
		r := s.get(tt.target+"&h.X-App=withheld", tt.cookie)
		if r.StatusCode != tt.status || (tt.status == 409) != (r.body == "409") || tt.status == 409 && strings.Contains(r.raw, "withheld") {
			t.Errorf("%s: %q", tt.why, r.raw)
		}
	}
	if r := s.get("/", cookie); !strings.Contains(r.body, `data={"n":"1","user":"alice"} version=2`) {
		t.Errorf("the session has become %q", r.body)
	}
}

// Lines that visitors or an application can repeat are limited, and counted.
func TestRepeatedLogLines(t *testing.T) {
	a := app(t, scripted)
	s := serve(t, storeOption("memory"), "session {\n\tcookies {\n\t\tkeep k\n\t}\n}\nreverse_proxy "+a.host()+"\nhandle_errors {\n\trespond \"{err.status_code}\"\n}")
	for target, line := range map[string]string{
		"/?set=nonsense":                                   "refusing a response",
		"/?set=a%3Db&h.Age=1":                              "ignoring session headers of a response that comes from a cache",
		"/?set=a%3Db&h.Cache-Control=public":               "making a response private",
		"/?h.Set-Cookie=k%3D1&h.Age=1":                     "not keeping the cookies of a response that comes from a cache",
		"/?h.Set-Cookie=k%3D1%3B%20Secure":                 "ignoring a cookie that the application sets",
		"/?h.Set-Cookie=csid%3D1":                          "dropping a cookie that the application sets",
		"/?control=revoke-others":                          "revoke-others without a subject",
		"/?set=%7B%22user%22%3A%7B%22id%22%3A1%7D%7D":      "nobody is signed in",
		"/?set=a%3Db&control=max-age%3D99999999999":        "max-age is more than remember allows",
		"/?set=a%3Db&control=destroy,no-touch,max-age%3D1": "destroy wins",
	} {
		begin := time.Now()
		for range 30 {
			s.get(target, "")
		}
		most := 1 + int(time.Since(begin)/time.Second)
		if lines := s.logged(line); len(lines) == 0 || len(lines) > most {
			t.Errorf("%s: %d lines for 30 requests", target, len(lines))
		}
	}
}
