package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session/nearcache"
)

const (
	// trackPing is how often a tracking connection is tried, and how often one
	// that is missing is made.
	trackPing = 250 * time.Millisecond

	// trackPatience is how long one may leave a command unanswered.
	trackPatience = time.Second

	// trackTopology is how often the nodes of a Cluster are asked what they are.
	trackTopology = time.Second

	// trackRefused is how long to wait after a server said that it won't.
	trackRefused = 30 * time.Second
)

// tracker listens to what the server says about changes (client-side caching,
// CLIENT TRACKING) and tells the cache. The cache is on as long as there is a
// tracking connection to every server that serves reads and each answers.
// Otherwise it is off and empty: a connection that is lost, or that leaves a
// ping unanswered for a second, may have missed something. A server that has
// become the primary without the old one's connection being lost is noticed a
// quarter of a second later, or a second in a Cluster, with the same result;
// what was read from it until then may be late by as much.
//
// There is one such connection for each server, apart from those that carry
// commands, with BCAST and the key prefix: the server announces every change
// under the prefix, whoever makes it and whether or not this process has read
// the key. Without BCAST the server remembers what each connection has read and
// forgets it at the first announcement. That depends on reads and their
// tracking being on one connection, of which there are several, each with a
// life of its own; and with NOLOOP, which spares a connection the echo of its
// own writes, the server forgets the key at such a write without a word, so
// that a later write by somebody else is never announced.
//
// The announcement leaves the server in the same turn of its event loop as the
// answer to the writer.
type tracker struct {
	get    func(context.Context) (rueidis.Client, error)
	prefix string
	cache  *nearcache.Cache
	log    *zap.Logger

	ctx     context.Context // ends with stop
	cancel  context.CancelFunc
	started sync.Once
	running sync.WaitGroup

	// Of the loop alone.
	primaries map[string]rueidis.Client // of a Cluster, by address
	asked     time.Time                 // when they were
	refused   time.Time                 // until then a new attempt is useless
	warned    bool

	mu    sync.Mutex
	lines map[string]*line // the live connections by address
	on    bool             // what the cache is
}

func newTracker(get func(context.Context) (rueidis.Client, error), prefix string, cache *nearcache.Cache, log *zap.Logger) *tracker {
	if log == nil {
		log = zap.NewNop()
	}
	t := &tracker{get: get, prefix: prefix, cache: cache, log: log, lines: map[string]*line{}}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// start begins to listen. Only the first call does something, and none after
// stop.
func (t *tracker) start() {
	t.started.Do(func() { t.running.Go(t.run) })
}

// stop ends the listening, and wait waits for what start has started.
func (t *tracker) stop() {
	t.cancel()
	t.started.Do(func() {})
}

func (t *tracker) wait() { t.running.Wait() }

func (t *tracker) run() {
	defer t.closeLines(nil)
	tick := time.NewTicker(trackPing)
	defer tick.Stop()
	for {
		t.check()
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
	}
}

// check makes sure that all servers are listened to, or that the cache is off.
func (t *tracker) check() {
	servers, err := t.servers()
	if err != nil {
		t.disable()
		return
	}
	t.closeLines(servers)
	for address, client := range servers {
		if t.has(address) {
			continue
		}
		t.disable()
		if time.Now().Before(t.refused) {
			return
		}
		if err := t.listen(address, client); err != nil {
			t.failed(address, err)
			return
		}
	}
	t.ping()
	t.enable(servers)
}

// servers returns a client for each server that serves reads, by address.
func (t *tracker) servers() (map[string]rueidis.Client, error) {
	ctx, cancel := context.WithTimeout(t.ctx, trackPatience)
	defer cancel()
	client, err := t.get(ctx)
	if err != nil {
		return nil, err
	}
	nodes := client.Nodes()
	if client.Mode() != rueidis.ClientModeCluster {
		return nodes, nil // of Sentinels the current master
	}
	if t.primaries != nil && time.Since(t.asked) < trackTopology {
		return t.primaries, nil
	}
	// Each node knows best what it is, and under this address it is read. One
	// that does not say may be a primary, and one that does not answer too.
	t.primaries, t.asked = nil, time.Now()
	primaries := map[string]rueidis.Client{}
	for address, node := range nodes {
		info, err := node.Do(ctx, node.B().Info().Section("replication").Build()).ToString()
		if err != nil && !isAnswer(err) {
			return nil, fmt.Errorf("asking %s for its role: %w", address, err)
		}
		if !strings.Contains(info, "\nrole:slave") {
			primaries[address] = node
		}
	}
	t.primaries = primaries
	return primaries, nil
}

// failed tells that a server can't be listened to. One that refuses is asked
// again after a while: its permissions may be changed.
func (t *tracker) failed(address string, err error) {
	answer, refused := rueidis.IsRedisErr(err)
	refused = refused && !answer.IsLoading() || errors.Is(err, errNoRESP3) || errors.Is(err, errNotTracking)
	if !refused {
		return // the log says that it is down
	}
	t.refused = time.Now().Add(trackRefused)
	if !t.warned {
		t.warned = true
		t.log.Warn("redis does not announce changes, so the near-cache is off: it needs RESP3 and the permissions +client|tracking and +client|trackinginfo",
			zap.String("address", address), zap.Error(publicError(err)))
	}
}

// enable switches the cache on if there is a line to each of the servers.
func (t *tracker) enable(servers map[string]rueidis.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for address := range servers {
		if t.lines[address] == nil {
			return
		}
	}
	if !t.on && len(servers) > 0 {
		t.on, t.warned = true, false
		t.cache.Enable()
	}
}

func (t *tracker) disable() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.turnOff()
}

// turnOff is called with the lock held.
func (t *tracker) turnOff() {
	if t.on {
		t.on = false
		t.cache.Disable()
	}
}
