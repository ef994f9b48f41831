package pgstore

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"
)

// What Options leave empty.
const (
	DefaultTable       = "caddy_session"
	DefaultTimeout     = 250 * time.Millisecond
	DefaultConnections = 10
)

const (
	// pingTime is the part of a call's time that a connection has to answer a ping
	// before it is used, if it was idle for a second.
	pingTime = 3

	// idleTime is how long a connection is kept that nobody uses.
	idleTime = 5 * time.Minute

	// aliveInterval is how often the kernel, and whoever listens, try a connection
	// on which nothing happens.
	aliveInterval = 10 * time.Second
)

// Options say where the database is and how to talk to it. The zero value is the
// one that psql would connect to without arguments.
type Options struct {
	// URL is that of the database: postgres://user:password@host:port/database, with
	// the parameters of libpq such as sslmode=verify-full. Its parameters may be
	// those of the server too, such as synchronous_commit. Several hosts are
	// separated by commas; of these the one that takes writes is used. What it
	// leaves out is what psql would take.
	URL string

	// Password is the user's, unless the URL has it.
	Password string

	// Table is the name of the table of sessions, and what other names begin with: of
	// lower-case letters, digits and underscores, perhaps after that of a schema and
	// a dot. Empty means DefaultTable.
	Table string

	// Timeout is the longest that one call takes; 0 means DefaultTimeout. It must be
	// enough for three round trips.
	Timeout time.Duration

	// Connections is how many there are at most, without the one that listens; 0
	// means DefaultConnections.
	Connections int

	// Logger gets a line when the database goes down or comes back. It may be nil.
	Logger *zap.Logger `json:"-"`
}

// config is Options with nothing left to decide.
type config struct {
	pool    *pgxpool.Config
	hosts   []pgconn.FallbackConfig // at least one; the same host twice with and without TLS
	addr    string                  // for messages, without credentials
	table   string
	timeout time.Duration
	logger  *zap.Logger
}

// validTable leaves room for what is added in names, which have up to 63 bytes.
var validTable = regexp.MustCompile(`^([a-z_][a-z0-9_]*\.)?[a-z_][a-z0-9_]*$`)

const maxTable = 45

func (o Options) resolve() (config, error) {
	c := config{table: o.Table, timeout: o.Timeout, logger: o.Logger}
	if o.URL != "" && !strings.HasPrefix(o.URL, "postgres://") && !strings.HasPrefix(o.URL, "postgresql://") {
		return config{}, errors.New("the URL must begin with postgres://")
	}
	pool, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// The error quotes the URL, perhaps with the password.
		err = errors.New("the URL, or what completes it from the environment, can't be read: see the parameters of libpq")
		return config{}, err
	}
	c.pool = pool
	conn := pool.ConnConfig
	if o.Password != "" {
		if hasPassword(o.URL) {
			return config{}, errors.New("the password is given in the URL and beside it")
		}
		conn.Password = o.Password
	}
	if c.table == "" {
		c.table = DefaultTable
	}
	if len(c.table) > maxTable || !validTable.MatchString(c.table) {
		return config{}, fmt.Errorf("the table %q: use up to %d lower-case letters, digits and underscores, perhaps after a schema and a dot", c.table, maxTable)
	}
	switch {
	case c.timeout < 0:
		return config{}, errors.New("the timeout is negative")
	case c.timeout == 0:
		c.timeout = DefaultTimeout
	}
	switch {
	case o.Connections < 0 || o.Connections > 10000:
		return config{}, errors.New("the number of connections is not from 1 to 10000")
	case o.Connections == 0:
		o.Connections = DefaultConnections
	}
	if c.logger == nil {
		c.logger = zap.NewNop()
	}

	pool.MaxConns, pool.MinConns, pool.MinIdleConns = int32(o.Connections), 0, 0
	pool.MaxConnIdleTime = idleTime
	pool.PingTimeout = c.timeout / pingTime
	conn.ConnectTimeout = max(c.timeout, minConnectTimeout)
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "caddy-session"
	}
	c.hosts = []pgconn.FallbackConfig{{Host: conn.Host, Port: conn.Port, TLSConfig: conn.TLSConfig}}
	for _, f := range conn.Fallbacks {
		c.hosts = append(c.hosts, *f)
	}
	var hosts []string
	for _, h := range c.hosts {
		if host := address(h.Host, h.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	if len(hosts) > 1 && conn.ValidateConnect == nil {
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	c.addr = strings.Join(hosts, ",") + "/" + conn.Database
	return c, nil
}

func address(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// hasPassword reports whether a URL gives one.
func hasPassword(url string) bool {
	_, rest, _ := strings.Cut(url, "://")
	user, _, ok := strings.Cut(rest, "@")
	return ok && strings.Contains(user, ":") || strings.Contains(rest, "?password=") || strings.Contains(rest, "&password=")
}
