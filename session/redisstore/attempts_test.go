//go:build unix

package redisstore_test

import (
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// Attempts to connect that fail leave no connection behind, not even one that
// was made a moment too late for them.
func TestFailedAttemptsLeaveNoConnections(t *testing.T) {
	slow := redistest.NewProxy(t, redistest.Start(t).Addr)
	slow.Delay(20 * time.Millisecond)
	s := open(t, redisstore.Options{Addresses: []string{redistest.Start(t).Addr, slow.Addr}, Timeout: patient})
	eventually(t, "there were some attempts", func() bool {
		s.Get(t.Context(), newID())
		_, total := slow.Connections()
		return total >= 5
	})
	eventually(t, "those before are closed", func() bool {
		open, _ := slow.Connections()
		return open <= 1
	})
}
