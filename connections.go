package caddysession

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

const (
	// lookEvery is how often the store is asked about sessions with open
	// connections: for those that expire, and for those that another process
	// ends, if it can't tell or its message is lost.
	lookEvery = 3 * time.Second

	// patience is how long a response gets that may be just a page on its way,
	// such as those of a user who signs out.
	patience = 1500 * time.Millisecond

	// listenAgain is the pause after listening to other processes has failed.
	// It doubles up to listenSeldom: it may not be allowed to.
	listenAgain  = time.Second
	listenSeldom = time.Minute

	// announceLimit bounds the messages to other processes that wait. What is
	// above it they find out by looking.
	announceLimit = 4096

	announceTimeout = 2 * time.Second
)

// connections are the WebSockets and streams of a store's sessions that this
// process holds open. They are closed when their session ends, wherever that
// happens.
type connections struct {
	store session.Store
	log   *zap.Logger

	mu   sync.Mutex
	byID map[string]map[*connection]struct{}
	size int

	start, announcing sync.Once
	announce          chan string
	ctx               context.Context
	stop              context.CancelFunc
}

// connection is one of them.
type connection struct {
	id      string
	patient bool // it may be just a page

	mu   sync.Mutex
	shut func() // nil once it has ended by itself
}

func newConnections(store session.Store, log *zap.Logger) *connections {
	c := &connections{store: store, log: log, byID: map[string]map[*connection]struct{}{}, announce: make(chan string, announceLimit)}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// add registers a connection. The first one starts the look-out.
func (c *connections) add(conn *connection) {
	c.mu.Lock()
	all := c.byID[conn.id]
	if all == nil {
		all = map[*connection]struct{}{}
		c.byID[conn.id] = all
	}
	all[conn] = struct{}{}
	c.size++
	c.mu.Unlock()
	c.start.Do(func() {
		go c.look()
		if notifier, ok := session.As[session.Notifier](c.store); ok {
			go c.listen(notifier)
		}
	})
}

// remove forgets a connection that has ended. It is not shut after that.
func (c *connections) remove(conn *connection) {
	c.mu.Lock()
	if all := c.byID[conn.id]; all != nil {
		if _, there := all[conn]; there {
			delete(all, conn)
			c.size--
		}
		if len(all) == 0 {
			delete(c.byID, conn.id)
		}
	}
	c.mu.Unlock()
	conn.mu.Lock()
	conn.shut = nil
	conn.mu.Unlock()
}

func (c *connections) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.size
}

// ended shuts the connections of a session that this process has ended, and
// tells the other processes.
func (c *connections) ended(id string) {
	c.shut(id)
	notifier, ok := session.As[session.Notifier](c.store)
	if !ok {
		return
	}
	c.announcing.Do(func() { go c.tell(notifier) })
	select {
	case c.announce <- id:
	default:
	}
}

// shut closes the connections of a session. It does not wait for that.
func (c *connections) shut(id string) {
	c.mu.Lock()
	all := slices.Collect(maps.Keys(c.byID[id]))
	c.mu.Unlock()
	for _, conn := range all {
		if conn.patient {
			time.AfterFunc(patience, conn.close)
		} else {
			go conn.close() // TLS says good-bye, and the peer may not listen
		}
	}
	if len(all) > 0 {
		c.log.Debug("closing connections of a session that has ended", zap.String("session", id), zap.Int("connections", len(all)))
	}
}

func (conn *connection) close() {
	conn.mu.Lock()
	defer conn.mu.Unlock()
	if conn.shut != nil {
		conn.shut()
		conn.shut = nil
	}
}

// look asks the store about the sessions with open connections, one after the
// other.
func (c *connections) look() {
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(lookEvery):
		}
		c.mu.Lock()
		ids := slices.Collect(maps.Keys(c.byID))
		c.mu.Unlock()
		for _, id := range ids {
			if c.ctx.Err() != nil {
				return
			}
			// What can't be told keeps its connections.
			if _, err := c.store.Get(c.ctx, id); errors.Is(err, session.ErrNotFound) {
				c.shut(id)
			}
		}
	}
}

// listen hears of sessions that other processes end.
func (c *connections) listen(notifier session.Notifier) {
	for pause := listenAgain; ; {
		start := time.Now()
		err := notifier.Listen(c.ctx, c.shut)
		if c.ctx.Err() != nil {
			return
		}
		c.log.Debug("can't hear of sessions that other processes end; asking the store now and then", zap.Error(err))
		if time.Since(start) > listenSeldom {
			pause = listenAgain
		}
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, listenSeldom)
	}
}

// tell sends what waits to be announced.
func (c *connections) tell(notifier session.Notifier) {
	for {
		select {
		case <-c.ctx.Done():
			return
		case id := <-c.announce:
			ctx, cancel := context.WithTimeout(c.ctx, announceTimeout)
			if err := notifier.Notify(ctx, id); err != nil {
				c.log.Debug("telling other processes of the end of a session", zap.String("session", id), zap.Error(err))
			}
			cancel()
		}
	}
}

