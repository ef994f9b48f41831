//go:build unix

package redisstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// A server that can't save its data refuses writes, and pings with them, but
// not reads. It does not count as down for as long as its disk is full.
func TestReadsWhileTheServerCannotSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, "--dir", dir, "--appendonly", "no", "--save", "900 1")
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}})
	eventually(t, "the store works", func() bool { return works(s) })

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it refuses to be written", func() bool {
		server.Try("BGSAVE")
		_, err := server.Try("PING")
		return err != nil && strings.HasPrefix(err.Error(), "MISCONF")
	})
	server.Pause()
	// Each connection finds out by itself.
	known := 0
	eventually(t, "it is known to be down", func() bool {
		_, err := s.Get(t.Context(), newID())
		if known++; err == nil || !strings.Contains(err.Error(), "is down") {
			known = 0
		}
		return known == 20
	})
	server.Resume()
	eventually(t, "it is read", func() bool { return works(s) })
	if accepts(s) {
		t.Error("it can be written: this test shows nothing")
	}
}
