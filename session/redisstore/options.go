package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session/nearcache"
)

// What Options leave empty.
const (
	DefaultHost       = "localhost"
	DefaultKeyPrefix  = "session:"
	DefaultTimeout    = 250 * time.Millisecond
	DefaultClientName = "caddy-session"

	DefaultDecodedCache = 32 << 20
	minDecodedCache     = 1 << 20
)

// decodedAge is how long a decoded session stays in memory.
const decodedAge = time.Minute

// Options say where the server is and how to talk to it. The zero value is a
// server on localhost without a password.
type Options struct {
	// Addresses are that of the server, which is asked whether it belongs to a
	// Cluster, or several of a Cluster or of Sentinels, of which one that
	// works is enough. None means DefaultHost. Each is one of
	//
	//	localhost:6379                     the port may be left out: 6379, of Sentinels 26379
	//	unix//run/redis.sock               a unix socket
	//	redis://user:password@host:port/db
	//	rediss://...                       the same over TLS
	//	unix://user:password@/path?db=1
	//
	// All parts of a URL but the host or path are optional. What it gives
	// must not be given otherwise by another address, or by another field at
	// all.
	Addresses []string

	// Sentinel makes the addresses those of Sentinels; nil means they are of
	// servers.
	Sentinel *Sentinel

	// Username and Password are those of an ACL user, or the password alone.
	Username string
	Password string

	// DB is the number of the database.
	DB int

	// TLS secures all connections, those to Sentinels too; nil means none,
	// except that rediss:// implies a zero Config. An empty ServerName is the
	// host of each address.
	TLS *tls.Config

	// KeyPrefix begins every key; empty means DefaultKeyPrefix.
	KeyPrefix string

	// Timeout is the longest that one call takes; 0 means DefaultTimeout.
	// Longer than that no server may leave a call without an answer. It must
	// be enough for two round trips, but not for connecting.
	Timeout time.Duration

	// Wait is for replicas to confirm what must not be undone by a failover.
	Wait Wait

	// ClientName shows up in CLIENT LIST; empty means DefaultClientName.
	ClientName string

	// DecodedCache is the most bytes that sessions may take which stay in memory,
	// decrypted, for a minute after they were read: 0 means DefaultDecodedCache,
	// less than 0 that none stay. Each counts 1 KiB and three times its record. The
	// server is asked every time; what it sends unchanged need not be decrypted
	// again. A NearStore has its near-cache for that.
	DecodedCache int64

	// Logger gets a line when the server goes down or comes back and when it
	// is not fit for sessions. It may be nil.
	Logger *zap.Logger
}

// Sentinel says which primary to ask Sentinels for.
type Sentinel struct {
	// Master is the name of the primary in the Sentinels' configuration.
	Master string

	// Username and Password are those of the Sentinels; the ones in Options
	// are of the servers.
	Username string
	Password string
}

// config is Options with nothing left to decide.
type config struct {
	target
	addresses  []string // host:port each, or one path
	sentinel   *Sentinel
	prefix     string
	timeout    time.Duration
	wait       Wait
	clientName string
	decoded    int64 // bytes, 0 for none
	logger     *zap.Logger
}

// cache returns the cache of decoded sessions, nil if there is none.
func (c config) cache() *nearcache.Cache {
	if c.decoded == 0 {
		return nil
	}
	cache := nearcache.New(c.decoded, decodedAge)
	cache.Enable()
	return cache
}

// String is the addresses without credentials, for messages.
func (c config) String() string {
	s := strings.Join(c.addresses, ",")
	switch {
	case c.network == "unix":
		return "unix/" + s
	case c.sentinel != nil:
		return c.sentinel.Master + " of sentinel " + s
	}
	return s
}

// Validate reports options that can't work, as New does.
func (o Options) Validate() error {
	if _, err := o.resolve(); err != nil {
		return fmt.Errorf("configuring the redis store: %w", err)
	}
	return nil
}

func (o Options) resolve() (config, error) {
	c := config{
		prefix:     o.KeyPrefix,
		timeout:    o.Timeout,
		wait:       o.Wait,
		clientName: o.ClientName,
		logger:     o.Logger,
	}
	if err := c.resolveAddresses(o); err != nil {
		return config{}, err
	}
	if o.Username != "" || o.Password != "" {
		if c.username != "" || c.password != "" {
			return config{}, errors.New("username and password are given in the address and beside it")
		}
		c.username, c.password = o.Username, o.Password
	}
	if c.username != "" && c.password == "" {
		return config{}, errors.New("there is a username but the password is empty")
	}
	if o.DB != 0 {
		if c.db != 0 {
			return config{}, errors.New("the database is given in the address and beside it")
		}
		c.db = o.DB
	}
	if c.db < 0 {
		return config{}, errors.New("the number of the database is negative")
	}
	if o.TLS != nil {
		if c.network == "unix" {
			return config{}, errors.New("a unix socket can't have TLS")
		}
		c.tls = o.TLS.Clone()
	}
	if c.timeout < 0 {
		return config{}, errors.New("the timeout is negative")
	}

	if c.prefix == "" {
		c.prefix = DefaultKeyPrefix
	}
	if c.timeout == 0 {
		c.timeout = DefaultTimeout
	}
	if c.clientName == "" {
		c.clientName = DefaultClientName
	}
	if c.wait.Replicas < 0 {
		return config{}, errors.New("wait: the number of replicas is negative")
	}
	if c.wait.Replicas > 0 && (c.wait.Timeout <= 0 || c.wait.Timeout >= c.timeout) {
		return config{}, fmt.Errorf("wait: the time for replicas, %v, must be above zero and below the timeout of a call, %v", c.wait.Timeout, c.timeout)
	}
	// HELLO refuses names with spaces or control characters.
	for _, r := range c.clientName {
		if r <= ' ' || r > '~' {
			return config{}, errors.New("the client name has characters other than printable ASCII, or a space")
		}
	}
	switch {
	case o.DecodedCache == 0:
		c.decoded = DefaultDecodedCache
	case o.DecodedCache >= minDecodedCache:
		c.decoded = o.DecodedCache
	case o.DecodedCache > 0:
		return config{}, fmt.Errorf("the cache of decoded sessions has %d bytes: it needs %d (1MiB) or more", o.DecodedCache, minDecodedCache)
	}
	if c.logger == nil {
		c.logger = zap.NewNop()
	}
	return c, nil
}

// resolveAddresses reads all addresses, whose URLs must agree.
func (c *config) resolveAddresses(o Options) error {
	addresses := o.Addresses
	if len(addresses) == 0 {
		addresses = []string{DefaultHost}
	}
	port := defaultPort
	if o.Sentinel != nil {
		port = sentinelPort
	}
	for i, address := range addresses {
		t, err := parseAddress(address, port)
		if err != nil {
			return err
		}
		if slices.Contains(c.addresses, t.address) {
			return fmt.Errorf("the address %s is given twice", t.address)
		}
		c.addresses = append(c.addresses, t.address)
		t.address = ""
		switch {
		case i == 0:
			c.target = t
		case t.network != c.network || c.network == "unix":
			return errors.New("a unix socket is one server: it can't be one of several addresses")
		case t.username != c.username || t.password != c.password || t.db != c.db || (t.tls == nil) != (c.tls == nil):
			return errors.New("the URLs of several addresses differ in more than the host and port")
		}
	}
	if s := o.Sentinel; s != nil {
		switch {
		case s.Master == "":
			return errors.New("sentinel: the name of the primary is missing")
		case c.network == "unix":
			return errors.New("sentinel: Sentinels have no unix socket")
		case c.username != "" || c.password != "":
			return errors.New("sentinel: an address with credentials could mean those of the Sentinels or of the servers: give username and password by themselves")
		case s.Username != "" && s.Password == "":
			return errors.New("sentinel: there is a username but the password is empty")
		}
		c.sentinel = s
	}
	if len(addresses) > 1 && c.sentinel == nil && (c.db != 0 || o.DB != 0) {
		return errors.New("several addresses are of a Cluster, which has no database but 0")
	}
	return nil
}
