// Package mongodb is the Caddy module session.stores.mongodb: sessions in MongoDB. It is
// a Go module of its own, since its driver is not in Caddy.
package mongodb

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
	"github.com/caddy-session/caddy-session/stores/mongodb/mongostore"
)

func init() {
	caddy.RegisterModule(MongoDB{})
}

// MongoDB keeps sessions in a database of MongoDB, where several Caddys share them. The
// database need not be up when Caddy starts.
//
// The texts may have placeholders such as `{env.MONGODB_PASSWORD}` or
// `{file./run/secrets/mongodb}`, which keeps secrets out of the configuration.
type MongoDB struct {
	// Where the database is: `mongodb://user@host:port/database` or `mongodb+srv://`,
	// with the options of drivers, such as `replicaSet=rs0` or `tls=true`. Default:
	// `mongodb://localhost:27017/caddy`.
	URL string `json:"url,omitempty"`

	// The password, unless the URL has it. Here it needs no escapes.
	Password string `json:"password,omitempty"`

	// The name of the collection of sessions, and what the names of others begin with.
	// Default: `caddy_session`.
	Collection string `json:"collection,omitempty"`

	// How long one operation may take. Default: 250ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	options mongostore.Options // resolved
	key     string
}

// CaddyModule returns the Caddy module information.
func (MongoDB) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.mongodb",
		New: func() caddy.Module { return new(MongoDB) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store mongodb [<url>] {
//		password   <password>
//		collection <name>
//		timeout    <duration>
//	}
func (s *MongoDB) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return settings.Whole(s, d, (*MongoDB).parse, (*MongoDB).check)
}

func (s *MongoDB) parse(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		s.URL = d.Val()
	}
	if d.NextArg() {
		return d.Err("store mongodb takes one URL, which may have several hosts: mongodb://one,two/database")
	}
	return block.Parse(s, d)
}

var block = settings.NewBlock("store mongodb { }", func(s *MongoDB, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"password":   func() error { return settings.String(d, &s.Password) },
		"collection": func() error { return settings.String(d, &s.Collection) },
		"timeout":    func() error { return settings.Duration(d, &s.Timeout) },
	}
})

// Provision resolves placeholders.
func (s *MongoDB) Provision(caddy.Context) (err error) {
	if s.options, err = s.resolve(settings.Resolve); err != nil {
		return err
	}
	// With the password: a new one is another store.
	if s.key, err = settings.Identity("mongodb", s.options); err != nil {
		return err
	}
	_, err = mongostore.New(s.options) // makes no connection
	return err
}

// resolve returns the options, every text as replace has it.
func (s *MongoDB) resolve(replace settings.Replacer) (mongostore.Options, error) {
	o := mongostore.Options{URL: s.URL, Password: s.Password, Collection: s.Collection, Timeout: time.Duration(s.Timeout)}
	err := replace.ReplaceAll(map[string]*string{"url": &o.URL, "password": &o.Password, "collection": &o.Collection})
	return o, err
}

// check reports mistakes that show without resolving placeholders, so that the
// Caddyfile's error can say where.
func (s *MongoDB) check() error {
	o, static := settings.Static(s.resolve)
	if !static {
		return nil
	}
	_, err := mongostore.New(o)
	return err
}

// StoreKey implements [sessionapp.StoreModule].
func (s *MongoDB) StoreKey() string { return s.key }

// NewStore implements [sessionapp.StoreModule].
func (s *MongoDB) NewStore(log *zap.Logger) (session.Store, error) {
	o := s.options
	o.Logger = log
	return mongostore.New(o)
}

// Interface guards.
var (
	_ sessionapp.StoreModule = (*MongoDB)(nil)
	_ caddy.Provisioner      = (*MongoDB)(nil)
	_ caddyfile.Unmarshaler  = (*MongoDB)(nil)
)
