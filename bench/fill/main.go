// Fill makes many sessions in a store, as sign-ins would, but without requests:
// by the engine, on the store itself. It prints some of them, one a line: the
// user, a space, and the value of the cookie.
//
// An embedded store is for one process, so no Caddy may have the file open.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/session/redisstore"
)

// writers returns how many sessions are on their way at a time: enough to fill the
// transactions of the embedded store, and not more bytes than a disk takes in time.
func writers(size int) int { return min(512, 8<<20/size+1) }

func main() {
	log.SetFlags(0)
	log.SetPrefix("fill: ")
	file := flag.String("file", "", "the file of an embedded store; without it, the store is on a server")
	redis := flag.String("redis", "", "the address of Redis")
	postgres := flag.String("postgres", "", "the URL of PostgreSQL")
	host := flag.String("host", "127.0.0.1", "the host that the cookies are for")
	name := flag.String("name", "user", "what the users' names begin with; a number follows")
	sessions := flag.Int("sessions", 1000, "how many sessions to make")
	size := flag.Int("bytes", 100, "how much data a session has, about")
	same := flag.Bool("same", false, "all sessions are of one user, whose name has no number")
	print := flag.Int("print", 1000, "how many of them to print, spread evenly")
	expire := flag.Duration("expire", 0, "all end this long after the start of this program; 0: by the default settings")
	flag.Parse()

	store, err := open(*file, *redis, *postgres)
	if err != nil {
		log.Fatal(err)
	}
	f := filler{store: store, name: *name, size: *size}
	f.site.Scope = session.Scope{Name: "csid", Host: *host, Path: "/"}
	f.site.Realm = *host
	if *expire > 0 {
		f.end = time.Now().Add(*expire)
	}

	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex // of out
	step := max(*sessions/max(*print, 1), 1)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range writers(*size) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < *sessions; i = int(next.Add(1)) - 1 {
				user := *name
				if !*same {
					user += fmt.Sprint(i)
				}
				s, err := f.create(user)
				if err != nil {
					log.Fatal(err)
				}
				if i%step == 0 && i/step < *print {
					mu.Lock()
					fmt.Fprintln(out, user, s.Token().Bearer())
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if err := store.Close(); err != nil {
		log.Fatal(err)
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func open(file, redis, postgres string) (session.Store, error) {
	// The time is for a queue of all writers, on a machine that is busy.
	const timeout = time.Minute
	switch {
	case postgres != "":
		return pgstore.New(pgstore.Options{URL: postgres, Timeout: timeout})
	case file != "":
		return boltstore.New(boltstore.Options{Path: file, MaxSessions: math.MaxInt, MaxSize: math.MaxInt64}), nil
	}
	return redisstore.New(redisstore.Options{Addresses: []string{redis}, Timeout: timeout})
}

type filler struct {
	store session.Store
	site  session.Site
	name  string
	size  int
	end   time.Time // when the sessions end; zero: by the default settings

	mu      sync.Mutex
	manager *session.Manager
	made    time.Time // of the manager
}

// create makes the session of one user who signs in.
func (f *filler) create(user string) (*session.Session, error) {
	m, err := f.current()
	if err != nil {
		return nil, err
	}
	data := map[string]any{"user": user, "roles": []any{"admin", "editor"}, "lang": "fr"}
	if small := len(`{"user":"","roles":["admin","editor"],"lang":"fr","return":""}`) + len(user); f.size > small {
		data["return"] = strings.Repeat("/page/of/some/length", f.size/20+1)[:f.size-small]
	}
	result, err := m.Commit(context.Background(), f.site, nil, &session.Patch{Set: []map[string]any{data}}, time.Now())
	if err != nil {
		return nil, err
	}
	return result.Session, nil
}

// current returns a manager whose sessions end when they should, or up to a
// second later. It is renewed each second, since it only knows how long
// sessions live.
func (f *filler) current() (*session.Manager, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.manager != nil && (f.end.IsZero() || time.Since(f.made) < time.Second) {
		return f.manager, nil
	}
	policy := session.DefaultPolicy()
	policy.MaxData = 1 << 20
	f.made = time.Now()
	if !f.end.IsZero() {
		policy.Idle = f.end.Sub(f.made)
		policy.Lifetime = policy.Idle
	}
	if err := policy.Validate(); err != nil {
		return nil, fmt.Errorf("--expire: %w", err)
	}
	protocol, err := session.NewProtocol("", nil, policy)
	if err != nil {
		return nil, err
	}
	f.manager, err = session.NewManager(f.store, policy, protocol.WithAPI(), session.Observer{})
	return f.manager, err
}
