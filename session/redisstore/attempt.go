package redisstore

import (
	"net"
	"sync"
)

// attempt is one try to make a client. The client dials several seeds of a
// Cluster at once and does not close what it dials after it has given up.
type attempt struct {
	mu     sync.Mutex
	over   bool
	failed bool
	conns  []net.Conn // until it is over
}

// take returns a connection that the client may have.
func (a *attempt) take(conn net.Conn) (net.Conn, error) {
	a.mu.Lock()
	switch {
	case a.failed:
		a.mu.Unlock()
		conn.Close()
		return nil, errClosed
	case !a.over:
		a.conns = append(a.conns, conn)
	}
	a.mu.Unlock()
	return conn, nil
}

// end says what became of the client. If there is none, nothing is left of it.
func (a *attempt) end(err error) {
	a.mu.Lock()
	conns := a.conns
	a.over, a.failed, a.conns = true, err != nil, nil
	a.mu.Unlock()
	if err == nil {
		return
	}
	for _, conn := range conns {
		conn.Close()
	}
}
