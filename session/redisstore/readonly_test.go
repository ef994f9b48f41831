//go:build unix

package redisstore_test

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A server that is read-only is not down, however busy it is and although its
// connections are given up every second.
func TestReadOnlyIsNotDown(t *testing.T) {
	server := redistest.Start(t)
	core, logs := observer.New(zap.InfoLevel)
	// Longer than any machine needs for a connection, however busy: one that takes too long
	// is rightly taken for a server that is down.
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: time.Minute, Logger: zap.New(core)})
	eventually(t, "the store works", func() bool { return works(s) })
	server.Do("REPLICAOF", "127.0.0.1", "1")
	var wg sync.WaitGroup
	end := time.Now().Add(3500 * time.Millisecond)
	for range 32 {
		wg.Go(func() {
			for time.Now().Before(end) {
				accepts(s)
				works(s)
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
	if n := logs.FilterMessage("redis refuses to write sessions").Len(); n != 1 {
		t.Errorf("that it refuses is logged %d times", n)
	}
	if lines := logs.FilterMessage("redis is down").All(); len(lines) != 0 {
		t.Errorf("it is logged to be down: %v", lines)
	}
}

// Before Redis 7 a script does not pass on the code of what it fails with.
func TestIsReadOnly(t *testing.T) {
	c := admin(t, redistest.Start(t).Addr)
	for text, want := range map[string]bool{
		"READONLY You can't write against a read only replica.":                                                                                  true,
		"ERR Error running script (call to f_e0e1f9): @user_script:9: @user_script: 9: -READONLY You can't write against a read only replica.":   true,
		"ERR Error running script (call to f_e0e1f9): @user_script:9: @user_script: 9: -OOM command not allowed when used memory > 'maxmemory'.": false,
		"OOM command not allowed when used memory > 'maxmemory'.":                                                                                false,
	} {
		err := c.Do(t.Context(), c.B().Eval().Script("return redis.error_reply(ARGV[1])").Numkeys(0).Arg(text).Build()).Error()
		if err == nil || redisstore.IsReadOnly(err) != want {
			t.Errorf("%v: got %t", err, !want)
		}
	}
}
