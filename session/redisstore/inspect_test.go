//go:build unix

package redisstore_test

import (
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestEvictionWarning(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want int
	}{
		"no limit":   {[]string{"--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"}, 0},
		"noeviction": {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "noeviction"}, 0},
		"allkeys":    {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, 1},
		"volatile":   {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, 1},
		"forbidden":  {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--rename-command", "INFO", ""}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, test.args...)
			core, logs := observer.New(zap.InfoLevel)
			s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient, Logger: zap.New(core)})
			eventually(t, "the store works", func() bool { return works(s) })
			s.AwaitInspection()
			if n := logs.FilterField(zap.String("maxmemory_policy", test.args[3])).Len(); n != test.want || logs.Len() != test.want {
				t.Errorf("got %v, want %d lines", logs.All(), test.want)
			}
		})
	}
}

// Servers and proxies that know no RESP3 are spoken to in RESP2.
func TestWithoutHello(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "HELLO", "", "--requirepass", secret)
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Password: secret, DB: 2, Timeout: patient})
	id := newID()
	if err := s.Put(t.Context(), id, 0, entry(1, "")); err != nil {
		t.Fatal(err)
	}
	for name, call := range storetest.Calls(s, id) {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
