package stores

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/pgstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(Postgres{})
}

// Postgres keeps sessions in a PostgreSQL database, where several Caddys share
// them. The database need not be up when Caddy starts.
//
// The texts may have placeholders such as `{env.PGPASSWORD}` or
// `{file./run/secrets/postgres}`, which keeps secrets out of the configuration.
type Postgres struct {
	// Where the database is: `postgres://user:password@host:port/database`, with
	// libpq's parameters, such as `sslmode=verify-full`. Several hosts are separated
	// by commas; the one that takes writes is used. Default: what psql would take.
	URL string `json:"url,omitempty"`

	// The password, unless the URL has it. Here it needs no escapes.
	Password string `json:"password,omitempty"`

	// The name of the table of sessions, and what other names begin with, perhaps
	// after a schema and a dot. Default: `caddy_session`.
	Table string `json:"table,omitempty"`

	// How long one operation may take. Default: 250ms.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many connections there are at most, without the one that listens.
	// Default: 10.
	Connections int `json:"connections,omitempty"`

	options pgstore.Options // resolved
	key     string
}

// CaddyModule returns the Caddy module information.
func (Postgres) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.postgres",
		New: func() caddy.Module { return new(Postgres) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store postgres [<url>] {
//		password    <password>
//		table       <name>
//		timeout     <duration>
//		connections <number>
//	}
func (s *Postgres) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return settings.Whole(s, d, (*Postgres).parse, (*Postgres).check)
}

func (s *Postgres) parse(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		s.URL = d.Val()
	}
	if d.NextArg() {
		return d.Err("store postgres takes one URL, which may have several hosts: postgres://one,two/database")
	}
	return postgresBlock.Parse(s, d)
}

var postgresBlock = settings.NewBlock("store postgres { }", func(s *Postgres, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"password": func() error { return settings.String(d, &s.Password) },
		"table":    func() error { return settings.String(d, &s.Table) },
		"timeout":  func() error { return settings.Duration(d, &s.Timeout) },
		"connections": func() error {
			if err := settings.Number(d, &s.Connections); err != nil {
				return err
			}
			if s.Connections < 1 {
				return d.Err("connections must be above zero")
			}
			return nil
		},
	}
})

// Provision resolves placeholders.
func (s *Postgres) Provision(caddy.Context) (err error) {
	if s.options, err = s.resolve(settings.Resolve); err != nil {
		return err
	}
	// With the password: a new one is another store.
	if s.key, err = settings.Identity("postgres", s.options); err != nil {
		return err
	}
	_, err = pgstore.New(s.options) // makes no connection
	return err
}

// resolve returns the options, every text as replace has it.
func (s *Postgres) resolve(replace settings.Replacer) (pgstore.Options, error) {
	o := pgstore.Options{URL: s.URL, Password: s.Password, Table: s.Table, Timeout: time.Duration(s.Timeout), Connections: s.Connections}
	err := replace.ReplaceAll(map[string]*string{"url": &o.URL, "password": &o.Password, "table": &o.Table})
	return o, err
}

// check reports mistakes that show without resolving placeholders, so that the
// Caddyfile's error can say where.
func (s *Postgres) check() error {
	o, static := settings.Static(s.resolve)
	if !static {
		return nil
	}
	_, err := pgstore.New(o)
	return err
}

// StoreKey implements [sessionapp.StoreModule].
func (s *Postgres) StoreKey() string { return s.key }

// NewStore implements [sessionapp.StoreModule].
func (s *Postgres) NewStore(log *zap.Logger) (session.Store, error) {
	o := s.options
	o.Logger = log
	return pgstore.New(o)
}

// Schema implements [sessionapp.SchemaModule]. Of the URL it takes the user and the
// search_path, so placeholders that have no value here do no harm.
func (s *Postgres) Schema() (string, error) {
	table, err := settings.Resolve("table", s.Table)
	if err != nil {
		return "", err
	}
	return pgstore.Script(pgstore.Options{URL: caddy.NewReplacer().ReplaceAll(s.URL, ""), Table: table})
}

// Interface guards.
var (
	_ sessionapp.StoreModule  = (*Postgres)(nil)
	_ sessionapp.SchemaModule = (*Postgres)(nil)
	_ caddy.Provisioner       = (*Postgres)(nil)
	_ caddyfile.Unmarshaler   = (*Postgres)(nil)
)
