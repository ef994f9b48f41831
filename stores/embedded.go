// Package stores has the modules that a configuration chooses a store with:
// `embedded`, `redis`, `postgres` and `memory`. It is their JSON, their Caddyfile, and what
// can be checked before Caddy runs. The stores themselves are in packages below
// session; package sessionapp opens them, and shares them between
// configurations.
package stores

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(Embedded{})
}

// Embedded keeps sessions in a database file on this machine. They survive
// restarts of Caddy. Only one process can use a file; several Caddys need the
// `redis` or the `postgres` store.
type Embedded struct {
	// The file. Default: `session/sessions.db` in Caddy's data directory.
	File string `json:"file,omitempty"`

	// How many sessions may be kept; beyond that none can be created. A tenth is
	// kept for users who sign in; sessions of visitors who have not come back yet
	// make room for others. A change takes effect when Caddy is restarted.
	// Default: 1000000.
	MaxSessions int `json:"max_sessions,omitempty"`

	// How many bytes the sessions may have, each with 256 more than its record;
	// beyond that none can be created or become larger. The file may be twice as
	// large. A change takes effect when Caddy is restarted. Default: 2147483648
	// (2 GiB).
	MaxSize int64 `json:"max_size,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (Embedded) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.embedded",
		New: func() caddy.Module { return new(Embedded) },
	}
}

// Provision finds the file's real path.
func (s *Embedded) Provision(caddy.Context) error {
	if s.MaxSessions < 0 {
		return fmt.Errorf("max_sessions %d is negative", s.MaxSessions)
	}
	if s.MaxSize != 0 && s.MaxSize < boltstore.LeastMaxSize {
		return fmt.Errorf("max_size %d is less than 1048576 (1 MiB)", s.MaxSize)
	}
	file, err := settings.Resolve("file", s.File)
	if err != nil {
		return err
	}
	if file == "" {
		file = filepath.Join(caddy.AppDataDir(), "session", "sessions.db")
	}
	s.File, err = realPath(file)
	return err
}

// realPath resolves symbolic links in as much of a path as exists.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !os.IsNotExist(err) {
		return real, err
	}
	if filepath.Dir(path) == path {
		return path, nil
	}
	dir, err := realPath(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store embedded [<file>] {
//		max_sessions <number>
//		max_size     <size>
//	}
func (s *Embedded) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		s.File = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return embeddedBlock.Parse(s, d)
}

var embeddedBlock = settings.NewBlock("store embedded { }", func(s *Embedded, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"max_sessions": func() error {
			if err := settings.Number(d, &s.MaxSessions); err != nil {
				return err
			}
			if s.MaxSessions < 1 {
				return d.Err("max_sessions must be above zero")
			}
			return nil
		},
		"max_size": func() error {
			var text string
			if err := settings.String(d, &text); err != nil {
				return err
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size < boltstore.LeastMaxSize || size > 1<<60 {
				return d.Errf("max_size %q: write a size such as 2GiB, at least 1MiB", text)
			}
			s.MaxSize = int64(size)
			return nil
		},
	}
})

// StoreKey implements [sessionapp.StoreModule]: one file, one store.
func (s *Embedded) StoreKey() string { return "embedded " + s.File }

// NewStore implements [sessionapp.StoreModule].
func (s *Embedded) NewStore(log *zap.Logger) (session.Store, error) {
	return boltstore.New(boltstore.Options{Path: s.File, MaxSessions: s.MaxSessions, MaxSize: s.MaxSize, Logger: log}), nil
}

// Interface guards.
var (
	_ sessionapp.StoreModule = (*Embedded)(nil)
	_ caddy.Provisioner      = (*Embedded)(nil)
	_ caddyfile.Unmarshaler  = (*Embedded)(nil)
)
