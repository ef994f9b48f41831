package redisstore

import (
	"crypto/tls"
	"errors"
	"time"

	"go.uber.org/zap"
)

// What Options leave empty.
const (
	DefaultAddress    = "localhost:6379"
	DefaultKeyPrefix  = "session:"
	DefaultTimeout    = 250 * time.Millisecond
	DefaultClientName = "caddy-session"
)

// Options say where the server is and how to talk to it. The zero value is a
// server on localhost without a password.
type Options struct {
	// Address of the server; empty means DefaultAddress. One of
	//
	//	localhost:6379                     the port may be left out
	//	unix//run/redis.sock               a unix socket
	//	redis://user:password@host:port/db
	//	rediss://...                       the same over TLS
	//	unix://user:password@/path?db=1
	//
	// All parts of a URL but the host or path are optional. What it gives
	// must not be given by another field too.
	Address string

	// Username and Password are those of an ACL user, or the password alone.
	Username string
	Password string

	// DB is the number of the database.
	DB int

	// TLS secures the connection; nil means none, except that rediss://
	// implies a zero Config. An empty ServerName is that of Address.
	TLS *tls.Config

	// KeyPrefix begins every key; empty means DefaultKeyPrefix.
	KeyPrefix string

	// Timeout is the longest that one call takes; 0 means DefaultTimeout. A
	// call that finds a connection lost makes a new one, so it must be enough
	// for connecting too, with TLS if that is on.
	Timeout time.Duration

	// ClientName shows up in CLIENT LIST; empty means DefaultClientName.
	ClientName string

	// Logger gets a line when the server goes down or comes back and when it
	// is not fit for sessions. It may be nil.
	Logger *zap.Logger
}

// config is Options with nothing left to decide.
type config struct {
	target
	prefix     string
	timeout    time.Duration
	clientName string
	logger     *zap.Logger
}

func (o Options) resolve() (config, error) {
	c := config{
		prefix:     o.KeyPrefix,
		timeout:    o.Timeout,
		clientName: o.ClientName,
		logger:     o.Logger,
	}
	var err error
	if c.target, err = parseAddress(o.Address); err != nil {
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
	// HELLO refuses names with spaces or control characters.
	for _, r := range c.clientName {
		if r <= ' ' || r > '~' {
			return config{}, errors.New("the client name has characters other than printable ASCII, or a space")
		}
	}
	if c.logger == nil {
		c.logger = zap.NewNop()
	}
	return c, nil
}
