package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// Who writes to the store can't have a sealed record taken for a plain one.
func TestSealedStaysSealed(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	s := serve(t, inRedis(redis), "session\nreverse_proxy "+a.host())
	cookie := signInEventually(t, s, "alice")
	key := "session:" + sessionID(cookie)
	value, err := redisDo(t, redis, "GET", key).ToString()
	if err != nil {
		t.Fatal(err)
	}
	header, _, _ := strings.Cut(value, "\n")
	for name, forged := range map[string]string{
		"another user": strings.Replace(header, " sealed", " plain", 1) + "\n" + `{"user":"alice","admin":true}`,
		"as it was":    strings.Replace(header, " sealed", " plain", 1) + "\n" + `{"user":"alice"}`,
	} {
		redisDo(t, redis, "SET", key, forged, "KEEPTTL")
		if r := s.get("/", cookie); !strings.Contains(r.body, "user= data= version= id=\n") {
			t.Errorf("%s: %q", name, r.body)
		}
	}
	redisDo(t, redis, "SET", key, value, "KEEPTTL")
	if r := s.get("/", cookie); !strings.Contains(r.body, `data={"user":"alice"}`) {
		t.Errorf("the record itself: %q", r.body)
	}
}

// Two realms on one host share a cookie and no session.
func TestRealmsPartSessions(t *testing.T) {
	eachStore(t, func(t *testing.T, option string) {
		a := app(t, scripted)
		s := serve(t, option, fmt.Sprintf(`@staff path /staff*
session @staff {
	realm staff
}
@others not path /staff*
session @others {
	realm public
}
reverse_proxy %s`, a.host()))
		for _, set := range []string{"set=user%3Dalice", "set=n%3D1"} {
			for _, paths := range [][2]string{{"/staff", "/"}, {"/", "/staff"}} {
				cookie := s.get(paths[0]+"?"+set, "").cookie()
				if r := s.get(paths[1], cookie); !strings.Contains(r.body, "user= data= version= id=\n") || r.Header.Get("Set-Cookie") != "" {
					t.Errorf("a session of %s at %s: %q", paths[0], paths[1], r.raw)
				}
				if r := s.get(paths[0], cookie); !strings.Contains(r.body, "id="+sessionID(cookie)) {
					t.Errorf("a session of %s there: %q", paths[0], r.body)
				}
			}
		}
		// Each of the two handlers says so once.
		if n := len(s.logged(`"level":"warn"`, "another realm", `"staff"`, `"public"`)); n != 2 {
			t.Errorf("%d warnings", n)
		}
		if lines := s.logged("wrong secret"); lines != nil {
			t.Errorf("taken for forged: %q", lines)
		}
	})
}

// A browser sends the cookie of the whole host to a path that has its own, and
// that of a domain to a host that has its own.
func TestCookiesOfOtherScopesAreNotForged(t *testing.T) {
	a := app(t, scripted)
	t.Run("path", func(t *testing.T) {
		s := serve(t, storeOption("memory"), fmt.Sprintf(`@app path /app*
session @app {
	cookie {
		path /app
	}
}
session
reverse_proxy %s`, a.host()))
		short, long := s.get("/?set=n%3D1", "").cookie(), s.get("/app?set=user%3Dalice", "").cookie()
		for _, cookies := range []string{long + "; " + short, short + "; " + long} {
			if r := s.get("/app", cookies); !strings.Contains(r.body, "user=alice") {
				t.Errorf("%q: %q", cookies, r.body)
			}
		}
		if r := s.get("/app", short); !strings.Contains(r.body, "id=\n") {
			t.Errorf("the cookie of /: %q", r.body)
		}
		if lines := s.logged("wrong secret"); lines != nil {
			t.Errorf("taken for forged: %q", lines)
		}
	})
	t.Run("domain", func(t *testing.T) {
		s := serve(t, storeOption("memory"), "respond OK")
		port := s.addr[strings.LastIndex(s.addr, ":"):]
		if err := s.try(storeOption("memory"), fmt.Sprintf(`http://example.test%s {
	session {
		cookie {
			domain example.test
		}
	}
	reverse_proxy %s
}
http://app.example.test%s {
	session
	reverse_proxy %s
}`, port, a.host(), port, a.host())); err != nil {
			t.Fatal(err)
		}
		whole, own := s.at("example.test", "/?set=n%3D1", "").cookie(), s.at("app.example.test", "/?set=user%3Dalice", "").cookie()
		if r := s.at("app.example.test", "/", whole+"; "+own); !strings.Contains(r.body, "user=alice") {
			t.Errorf("both: %q", r.body)
		}
		if lines := s.logged("wrong secret"); lines != nil {
			t.Errorf("taken for forged: %q", lines)
		}
	})
}
