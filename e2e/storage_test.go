package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// What a store has on disk must not be enough to be somebody, nor, unless
// encryption is off, to read what a session holds. Redis's append-only file has
// all that was ever stored.
func TestNothingToSteal(t *testing.T) {
	const note = "what only alice may know"
	for _, kind := range []string{"embedded", "redis"} {
		for _, encryption := range []string{"on", "off"} {
			t.Run(kind+" encryption "+encryption, func(t *testing.T) {
				dir := t.TempDir()
				option := storeOption("embedded " + filepath.Join(dir, "sessions.db"))
				if kind == "redis" {
					r := redistest.Start(t)
					dir, option = filepath.Dir(r.Socket), inRedis(r)
				}
				a := app(t, scripted)
				s := serve(t, option, "session {\n encryption "+encryption+"\n}\nreverse_proxy "+a.host())

				anonymous := s.get("/?set=cart%3D1", "").cookie()
				cookie := s.get("/?set=user%3Dalice", anonymous).cookie()
				renewed := s.get("/?control=renew&set="+url.QueryEscape(`{"note":"`+note+`"}`), cookie).cookie()
				if r := s.get("/", renewed); !strings.Contains(r.body, note) {
					t.Fatalf("the application does not see the note: %s", r.body)
				}

				stored := contents(t, dir)
				id := sessionID(renewed)
				if !bytes.Contains(stored, []byte(id)) {
					t.Fatalf("the id %s is not stored: this looks in the wrong place", id)
				}
				if got, want := bytes.Contains(stored, []byte(note)), encryption == "off"; got != want {
					t.Errorf("the note is readable: %v", got)
				}
				for i, cookie := range []string{anonymous, cookie, renewed} {
					_, text, _ := strings.Cut(cookie, ".")
					secret, err := base64.RawURLEncoding.DecodeString(text)
					if err != nil || len(secret) != 32 {
						t.Fatalf("secret of cookie %q: %v", cookie, err)
					}
					for form, b := range map[string][]byte{
						"base64url": []byte(text),
						"base64":    []byte(base64.RawStdEncoding.EncodeToString(secret)),
						"hex":       []byte(hex.EncodeToString(secret)),
						"raw":       secret,
					} {
						if bytes.Contains(stored, b) {
							t.Errorf("secret %d is stored in %s", i, form)
						}
					}
				}
			})
		}
	}
}

// contents returns all regular files below a directory, one after another.
func contents(t *testing.T, dir string) (all []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, b...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestStoreFilePermissions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "sessions.db")
	a := app(t, scripted)
	s := serve(t, storeOption("embedded "+file), "session\nreverse_proxy "+a.host())
	s.signIn("alice")
	for path, want := range map[string]fs.FileMode{file: 0o600, filepath.Dir(file): fs.ModeDir | 0o700} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", filepath.Base(path), info.Mode(), want)
		}
	}
}

// A reload with another store has to let go of the one before.
func TestReloadWithAnotherStore(t *testing.T) {
	redis := redistest.Start(t)
	dir := t.TempDir()
	file, other := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db")
	a := app(t, scripted)
	site := "session\nreverse_proxy " + a.host()
	s := serve(t, storeOption("embedded "+file), site)
	cookie := s.signIn("alice")
	signedIn := func() bool { return strings.Contains(s.get("/", cookie).body, "user=alice ") }

	s.load(storeOption("embedded "+other), site)
	if signedIn() {
		t.Error("the new store knows a session of the old one")
	}
	unlocked(t, file)

	s.load(storeOption("embedded "+file), site)
	if !signedIn() {
		t.Error("the session is lost after going back to the first file")
	}
	unlocked(t, other)

	s.load(inRedis(redis), site)
	inTheEnd := s.signIn("bob")
	unlocked(t, file)
	connected := func(name string) bool {
		list, err := redisDo(t, redis, "CLIENT", "LIST").ToString()
		return err == nil && strings.Contains(list, "name="+name+" ")
	}
	if !connected("caddy-session") {
		t.Error("no connection to Redis by its name")
	}
	// Another setting of the same server is another store too.
	s.load(storeOption("redis "+redis.Addr+" {\n\tclient_name other\n\ttimeout 5s\n}"), site)
	if r := s.get("/", inTheEnd); !strings.Contains(r.body, "user=bob ") {
		t.Errorf("the same server in another configuration: %s", r.body)
	}
	eventually(t, "the other connection takes over", func() bool { return connected("other") && !connected("caddy-session") })

	s.load(storeOption("memory"), site)
	eventually(t, "no connection to Redis", func() bool { return !connected("other") })
	eventually(t, "no goroutine of an old store", func() bool {
		return goroutines("/rueidis.") == 0 && goroutines("/redisstore.") == 0 && goroutines("/boltstore.") == 0
	})
}

// unlocked fails unless another process could open a database now.
func unlocked(t *testing.T, file string) {
	t.Helper()
	db, err := bolt.Open(file, 0o600, &bolt.Options{Timeout: timeout})
	if err != nil {
		t.Errorf("the old store still has its file: %v", err)
		return
	}
	db.Close()
}

// Where idle was lowered a touch is due at once, without waiting for time to
// pass.
func TestTouch(t *testing.T) {
	redis := redistest.Start(t)
	a := app(t, scripted)
	site := func(idle string) string {
		return fmt.Sprintf("session {\n idle %s\n}\nreverse_proxy %s", idle, a.host())
	}
	s := serve(t, inRedis(redis), site("30m"))
	cookie := s.signIn("alice")
	left := func() time.Duration {
		ms, err := redisDo(t, redis, "PTTL", "session:"+sessionID(cookie)).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(ms) * time.Millisecond
	}
	if ttl := left(); ttl < 29*time.Minute || ttl > 30*time.Minute {
		t.Errorf("a new session lives for %s", ttl)
	}
	s.get("/", cookie)
	s.load(inRedis(redis), site("10m"))
	s.get("/?control=no-touch", cookie)
	s.get("/", "")
	if ttl := left(); ttl < 29*time.Minute {
		t.Errorf("a request that said no-touch has touched: %s", ttl)
	}
	s.get("/", cookie)
	eventually(t, "the touch", func() bool { return left() <= 10*time.Minute })

	// Raised again, it is due as well; and no session is touched past its deadline.
	s.load(inRedis(redis), site("20h"))
	s.get("/", cookie)
	eventually(t, "the second touch", func() bool { return left() > 19*time.Hour })
	s.load(inRedis(redis), site("24h"))
	s.get("/", cookie)
	eventually(t, "the third touch", func() bool { return left() > 23*time.Hour })
	if ttl := left(); ttl >= 24*time.Hour {
		t.Errorf("the touch has moved the end of the session to %s from now", ttl)
	}
}
