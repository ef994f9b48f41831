package stores

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(Redis{})
}

// Redis keeps sessions in Redis (6.2 or later) or Valkey, where several
// Caddys share them. Redis need not be up when Caddy starts.
//
// The texts may have placeholders such as `{env.REDIS_PASSWORD}` or
// `{file./run/secrets/redis}`, which keeps secrets out of the configuration.
type Redis struct {
	// Where Redis is: `host:port`, a `redis://` or `rediss://` URL, or
	// `unix//path/to/socket`. A single server is asked whether it belongs to a
	// Redis Cluster. Several are servers of a Cluster, or Sentinels; one of
	// them that works is enough. Default: `localhost:6379`.
	Addresses []string `json:"addresses,omitempty"`

	// Makes the addresses those of Redis Sentinels, which know who the
	// primary is.
	Sentinel *RedisSentinel `json:"sentinel,omitempty"`

	// The user of Redis's access control list. Default: Redis's default user.
	Username string `json:"username,omitempty"`

	// The password.
	Password string `json:"password,omitempty"`

	// The number of the database. Default: 0.
	DB int `json:"db,omitempty"`

	// TLS to the servers and Sentinels. An empty object is enough for a server whose
	// certificate is trusted by this machine.
	TLS *RedisTLS `json:"tls,omitempty"`

	// What the names of all keys begin with. Default: `session:`.
	KeyPrefix string `json:"key_prefix,omitempty"`

	// How long one operation may take. Default: 250ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// Makes a response that ends a session, or replaces its secret, wait until
	// replicas have that too. Otherwise a failover can bring back what was
	// ended in the moment before it. If too few replicas confirm it in time,
	// the response is a 503, although the session was ended.
	Wait *RedisWait `json:"wait,omitempty"`

	// The name of the connections in CLIENT LIST. Default: `caddy-session`.
	ClientName string `json:"client_name,omitempty"`

	// Sessions that were read are kept in Caddy's memory, until Redis says that
	// they have changed. Default: they are not.
	NearCache *RedisNearCache `json:"near_cache,omitempty"`

	// The most bytes of Caddy's memory that sessions may take which stay there,
	// decrypted, for a minute after they were read. Redis is asked at every request
	// all the same; what it sends unchanged is not decrypted again. A session counts
	// 1 KiB and three times its record. -1 switches it off. With a near-cache, that
	// has this use too. Default: 33554432 (32 MiB).
	DecodedCache int64 `json:"decoded_cache,omitempty"`

	options redisstore.Options // resolved
	key     string
}

// RedisSentinel says which primary to ask Redis Sentinels for.
type RedisSentinel struct {
	// The name of the primary in the Sentinels' configuration.
	Master string `json:"master,omitempty"`

	// The user of the Sentinels' own access control list.
	Username string `json:"username,omitempty"`

	// The password of the Sentinels.
	Password string `json:"password,omitempty"`
}

// RedisWait says how many replicas must have a change, and how soon.
type RedisWait struct {
	// How many replicas.
	Replicas int `json:"replicas,omitempty"`

	// How long they have, less than the timeout of an operation.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// RedisTLS says how the connection to Redis is secured.
type RedisTLS struct {
	// Files with the certificates of authorities to trust, in PEM, instead of
	// this machine's.
	CA []string `json:"ca,omitempty"`

	// The file with the client's certificate, in PEM.
	Certificate string `json:"certificate,omitempty"`

	// The file with its key, in PEM.
	Key string `json:"key,omitempty"`

	// The name that the servers' certificates must have. Default: the host of
	// each address.
	ServerName string `json:"server_name,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Redis) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.redis",
		New: func() caddy.Module { return new(Redis) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store redis [<address...>] {
//		sentinel    <primary> {
//			username <name>
//			password <password>
//		}
//		username    <name>
//		password    <password>
//		db          <number>
//		key_prefix  <prefix>
//		timeout     <duration>
//		wait        <replicas> <duration>
//		client_name <name>
//		near_cache  [<size>] {
//			max_age <duration>
//		}
//		decoded_cache <size>|off
//		tls {
//			ca          <file...>
//			certificate <file> <key_file>
//			server_name <name>
//		}
//	}
func (s *Redis) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return settings.Whole(s, d, (*Redis).parse, (*Redis).check)
}

func (s *Redis) parse(d *caddyfile.Dispenser) (err error) {
	d.Next()
	if s.Addresses, err = settings.Names(d); err != nil {
		return err
	}
	return redisBlock.Parse(s, d)
}

var redisBlock = settings.NewBlock("store redis { }", func(s *Redis, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"sentinel":    func() error { return s.parseSentinel(d) },
		"wait":        func() error { return s.parseWait(d) },
		"username":    func() error { return settings.String(d, &s.Username) },
		"password":    func() error { return settings.String(d, &s.Password) },
		"db":          func() error { return settings.Number(d, &s.DB) },
		"key_prefix":  func() error { return settings.String(d, &s.KeyPrefix) },
		"timeout":     func() error { return settings.Duration(d, &s.Timeout) },
		"client_name": func() error { return settings.String(d, &s.ClientName) },
		"near_cache": func() error {
			s.NearCache = new(RedisNearCache)
			return s.NearCache.parse(d)
		},
		"decoded_cache": func() error { return s.parseDecodedCache(d) },
		"tls": func() error {
			s.TLS = new(RedisTLS)
			return s.TLS.parse(d)
		},
	}
})

func (s *Redis) parseSentinel(d *caddyfile.Dispenser) error {
	s.Sentinel = new(RedisSentinel)
	if !d.NextArg() {
		return d.Err("sentinel takes the name of the primary, as the Sentinels know it")
	}
	s.Sentinel.Master = d.Val()
	if d.NextArg() {
		return d.Err("sentinel takes one name; the addresses of the Sentinels belong after store redis")
	}
	return sentinelBlock.Parse(s.Sentinel, d)
}

var sentinelBlock = settings.NewBlock("sentinel { } in store redis", func(s *RedisSentinel, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"username": func() error { return settings.String(d, &s.Username) },
		"password": func() error { return settings.String(d, &s.Password) },
	}
})

func (s *Redis) parseWait(d *caddyfile.Dispenser) error {
	var replicas, within string
	if !d.AllArgs(&replicas, &within) {
		return d.Err("wait takes how many replicas and how long, such as wait 1 100ms")
	}
	n, err := strconv.Atoi(replicas)
	if err != nil || n < 1 {
		return d.Errf("wait %q: write how many replicas, 1 or more", replicas)
	}
	duration, err := caddy.ParseDuration(within)
	if err != nil || duration <= 0 {
		return d.Errf("wait %s %q: write a duration such as 100ms", replicas, within)
	}
	s.Wait = &RedisWait{Replicas: n, Timeout: caddy.Duration(duration)}
	return nil
}

func (s *Redis) parseDecodedCache(d *caddyfile.Dispenser) error {
	var word string
	if !d.AllArgs(&word) {
		return d.Err("decoded_cache takes a size such as 32MiB, or off")
	}
	if word == "off" {
		s.DecodedCache = -1
		return nil
	}
	size, err := parseSize(word)
	if err != nil {
		return d.Errf("decoded_cache %q: write a size such as 32MiB, or off", word)
	}
	s.DecodedCache = size
	return nil
}

func (t *RedisTLS) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("the settings of tls go into a block: tls { ... }")
	}
	return tlsBlock.Parse(t, d)
}

var tlsBlock = settings.NewBlock("tls { } in store redis", func(t *RedisTLS, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"ca": func() error {
			files, err := settings.Values(d)
			if err == nil && len(files) == 0 {
				err = d.ArgErr()
			}
			t.CA = files
			return err
		},
		"certificate": func() error {
			if !d.AllArgs(&t.Certificate, &t.Key) {
				return d.Err("write: certificate FILE KEY_FILE")
			}
			return nil
		},
		"server_name": func() error { return settings.String(d, &t.ServerName) },
	}
})

// Provision resolves placeholders and reads certificates.
func (s *Redis) Provision(caddy.Context) error {
	o, err := s.resolve(settings.Resolve)
	if err != nil {
		return err
	}
	var pems [][]byte
	if s.TLS != nil {
		config, err := s.TLS.config(func(pem []byte) { pems = append(pems, pem) })
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		o.TLS = config
	}
	// A renewed certificate or password is another store.
	if s.key, err = settings.Identity("redis", o.Addresses, o.Sentinel, o.Username, o.Password, o.DB, s.TLS, pems, o.KeyPrefix, o.Timeout, o.Wait, o.ClientName, s.NearCache, s.DecodedCache); err != nil {
		return err
	}
	s.options = o
	if err := s.checkCaches(); err != nil {
		return err
	}
	return o.Validate()
}

// resolve returns the options without TLS, every text as replace has it.
func (s *Redis) resolve(replace settings.Replacer) (redisstore.Options, error) {
	o := redisstore.Options{
		Addresses: slices.Clone(s.Addresses), DB: s.DB, Timeout: time.Duration(s.Timeout),
		Username: s.Username, Password: s.Password, KeyPrefix: s.KeyPrefix, ClientName: s.ClientName,
		DecodedCache: s.DecodedCache,
	}
	texts := map[string]*string{
		"username": &o.Username, "password": &o.Password, "key_prefix": &o.KeyPrefix, "client_name": &o.ClientName,
	}
	for i := range o.Addresses {
		texts["address "+strconv.Itoa(i+1)] = &o.Addresses[i]
	}
	if s.Sentinel != nil {
		o.Sentinel = &redisstore.Sentinel{Master: s.Sentinel.Master, Username: s.Sentinel.Username, Password: s.Sentinel.Password}
		texts["sentinel"] = &o.Sentinel.Master
		texts["username of the sentinels"] = &o.Sentinel.Username
		texts["password of the sentinels"] = &o.Sentinel.Password
	}
	if s.Wait != nil {
		o.Wait = redisstore.Wait{Replicas: s.Wait.Replicas, Timeout: time.Duration(s.Wait.Timeout)}
	}
	err := replace.ReplaceAll(texts)
	return o, err
}

// check reports mistakes that show without resolving placeholders or reading
// files, so that the Caddyfile's error can say where.
func (s *Redis) check() error {
	if err := s.checkCaches(); err != nil {
		return err
	}
	o, static := settings.Static(s.resolve)
	if !static {
		return nil
	}
	if s.TLS != nil {
		o.TLS = new(tls.Config)
	}
	return o.Validate()
}

func (s *Redis) checkCaches() error {
	if s.NearCache != nil && s.DecodedCache != 0 {
		return errors.New("near_cache and decoded_cache: the near-cache keeps decoded sessions, too; leave out decoded_cache")
	}
	if err := s.NearCache.validate(); err != nil {
		return fmt.Errorf("near_cache: %w", err)
	}
	return nil
}

func (t *RedisTLS) config(read func(pem []byte)) (*tls.Config, error) {
	config := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	for _, file := range t.CA {
		pem, err := readFile("ca", file)
		if err != nil {
			return nil, err
		}
		read(pem)
		if config.RootCAs == nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: no certificate in PEM in %s", file)
		}
	}
	if t.Certificate == "" && t.Key == "" {
		return config, nil
	}
	cert, err := readFile("certificate", t.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := readFile("key", t.Key)
	if err != nil {
		return nil, err
	}
	read(cert)
	read(key)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s and key %s: %w", t.Certificate, t.Key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// readFile reads a file whose name may have placeholders.
func readFile(name, file string) ([]byte, error) {
	file, err := settings.Resolve(name, file)
	if err != nil {
		return nil, err
	}
	contents, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return contents, nil
}

// StoreKey implements [sessionapp.StoreModule].
func (s *Redis) StoreKey() string { return s.key }

// NewStore implements [sessionapp.StoreModule].
func (s *Redis) NewStore(log *zap.Logger) (session.Store, error) {
	o := s.options
	o.Logger = log
	if s.NearCache != nil {
		return redisstore.NewNear(o, s.NearCache.options())
	}
	return redisstore.New(o)
}

// Interface guards.
var (
	_ sessionapp.StoreModule = (*Redis)(nil)
	_ caddy.Provisioner      = (*Redis)(nil)
	_ caddyfile.Unmarshaler  = (*Redis)(nil)
)
