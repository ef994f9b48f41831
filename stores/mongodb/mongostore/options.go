package mongostore

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.uber.org/zap"
)

// What Options leave empty.
const (
	DefaultURL        = "mongodb://localhost:27017"
	DefaultDatabase   = "caddy"
	DefaultCollection = "caddy_session"
	DefaultTimeout    = 250 * time.Millisecond
)

const (
	// minConnectTimeout lets an attempt to connect take longer than the call that
	// needs the connection.
	minConnectTimeout = time.Second

	// heartbeat is how often the driver looks how the servers are. Connections that
	// a firewall has forgotten are given up after that.
	heartbeat = 2 * time.Second

	// idleTime is how long a connection is kept that nobody uses.
	idleTime = 5 * time.Minute
)

// Options say where the database is and how to talk to it. The zero value is a server
// on this machine.
type Options struct {
	// URL is a connection string of MongoDB: mongodb://user@host:port/database, with
	// the options of drivers, such as replicaSet, tls or maxPoolSize. Empty means
	// DefaultURL. Without a database it is DefaultDatabase.
	URL string

	// Password is that of the URL's user, unless the URL has it.
	Password string

	// Collection is the name of the collection of sessions, and what the names of the
	// others begin with: of letters, digits, underscores and hyphens. Empty means
	// DefaultCollection.
	Collection string

	// Timeout is the longest that one call takes; 0 means DefaultTimeout. It must be
	// enough for three round trips.
	Timeout time.Duration

	// Logger gets a line when the database goes down or comes back. It may be nil.
	Logger *zap.Logger `json:"-"`
}

// config is Options with nothing left to decide but what DNS says.
type config struct {
	url, password string
	database      string
	collection    string
	addr          string // for messages, without credentials
	timeout       time.Duration
	logger        *zap.Logger
}

var validCollection = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,99}$`)

func (o Options) resolve() (config, error) {
	c := config{
		url:        cmp.Or(o.URL, DefaultURL),
		password:   o.Password,
		collection: cmp.Or(o.Collection, DefaultCollection),
		timeout:    cmp.Or(o.Timeout, DefaultTimeout),
		logger:     cmp.Or(o.Logger, zap.NewNop()),
	}
	scheme, rest, _ := strings.Cut(c.url, "://")
	if scheme != "mongodb" && scheme != "mongodb+srv" {
		return config{}, errors.New("the URL must begin with mongodb:// or mongodb+srv://")
	}
	switch {
	case !validCollection.MatchString(c.collection):
		return config{}, fmt.Errorf("the collection %q: use up to 100 letters, digits, underscores and hyphens", c.collection)
	case c.timeout < 0:
		return config{}, errors.New("the timeout is negative")
	}
	rest, _, _ = strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	database, err := url.PathUnescape(path)
	if err != nil {
		return config{}, errURL
	}
	c.database = cmp.Or(database, DefaultDatabase)
	c.addr = authority[strings.LastIndexByte(authority, '@')+1:] + "/" + c.database
	if scheme == "mongodb+srv" {
		return c, nil // to read it takes DNS, which may not be there yet
	}
	_, err = c.client()
	return c, err
}

// The driver's error may quote the URL, perhaps with the password.
var errURL = errors.New("the URL can't be read: see the connection strings of MongoDB")

// client returns the options of the driver. Of mongodb+srv it asks DNS.
func (c config) client() (*options.ClientOptions, error) {
	o := options.Client().ApplyURI(c.url)
	if o.Validate() != nil {
		return nil, errURL
	}
	if c.password != "" {
		switch {
		case o.Auth == nil:
			return nil, errors.New("there is a password, and the URL has no user: write mongodb://USER@HOST")
		case o.Auth.PasswordSet:
			return nil, errors.New("the password is given in the URL and beside it")
		}
		o.Auth.Password, o.Auth.PasswordSet = c.password, true
	}
	switch {
	case o.ReadPreference != nil && o.ReadPreference.Mode() != readpref.PrimaryMode:
		return nil, errors.New("readPreference: sessions are read from the primary only, since others are behind")
	case o.WriteConcern != nil && !o.WriteConcern.Acknowledged():
		return nil, errors.New("w=0: writes have to be answered")
	case o.Timeout != nil:
		return nil, errors.New("timeoutMS: the store has a timeout of its own")
	}
	if o.AppName == nil {
		o.SetAppName("caddy-session")
	}
	if o.ConnectTimeout == nil {
		o.SetConnectTimeout(max(c.timeout, minConnectTimeout))
	}
	if o.HeartbeatInterval == nil {
		o.SetHeartbeatInterval(heartbeat)
	}
	if o.MaxConnIdleTime == nil {
		o.SetMaxConnIdleTime(idleTime)
	}
	return o, nil
}
