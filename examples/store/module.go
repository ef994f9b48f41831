package sqlitestore

import (
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() { caddy.RegisterModule(SQLite{}) }

// SQLite keeps sessions in an SQLite database on this machine: `store sqlite FILE`
// in a Caddyfile, `{"module": "sqlite", "file": "FILE"}` in JSON.
type SQLite struct {
	// The file of the database.
	File string `json:"file,omitempty"`
}

// CaddyModule says what comes after `store`.
func (SQLite) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "session.stores.sqlite", New: func() caddy.Module { return new(SQLite) }}
}

// UnmarshalCaddyfile reads `sqlite FILE`.
func (s *SQLite) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.AllArgs(&s.File) {
		return d.Err("write: store sqlite FILE")
	}
	return nil
}

// Provision makes the path one that means the same wherever Caddy was started.
func (s *SQLite) Provision(caddy.Context) (err error) {
	s.File, err = filepath.Abs(s.File)
	return err
}

// StoreKey tells stores apart: a reload with the same key keeps the store open.
func (s *SQLite) StoreKey() string { return "sqlite " + s.File }

// NewStore makes the store and touches nothing.
func (s *SQLite) NewStore(*zap.Logger) (session.Store, error) { return New(s.File) }

// Interface guards.
var (
	_ sessionapp.StoreModule = (*SQLite)(nil)
	_ caddy.Provisioner      = (*SQLite)(nil)
	_ caddyfile.Unmarshaler  = (*SQLite)(nil)
)
