package caddysession

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
	"github.com/caddy-session/caddy-session/session/memstore"
)

func init() {
	caddy.RegisterModule(EmbeddedStore{})
	caddy.RegisterModule(MemoryStore{})
}

// EmbeddedStore keeps sessions in a database file on this machine. They survive
// restarts of Caddy. Only one process can use a file; several Caddys need the
// `redis` store.
type EmbeddedStore struct {
	// The file. Default: `session/sessions.db` in Caddy's data directory.
	File string `json:"file,omitempty"`

	// How many sessions may be kept; beyond that none can be created. A tenth is
	// kept for users who sign in; sessions of visitors who have not come back yet
	// make room for others. A change takes effect when Caddy is restarted. Default: 1000000.
	MaxSessions int `json:"max_sessions,omitempty"`

	// How many bytes the sessions may have, each with 256 more than its record;
	// beyond that none can be created or become larger. The file may be twice as
	// large. A change takes effect when Caddy is restarted. Default: 2147483648
	// (2 GiB).
	MaxSize int64 `json:"max_size,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (EmbeddedStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.embedded",
		New: func() caddy.Module { return new(EmbeddedStore) },
	}
}

// Provision finds the file's real path.
func (s *EmbeddedStore) Provision(caddy.Context) error {
	if s.MaxSessions < 0 {
		return fmt.Errorf("max_sessions %d is negative", s.MaxSessions)
	}
	if s.MaxSize != 0 && s.MaxSize < boltstore.LeastMaxSize {
		return fmt.Errorf("max_size %d is less than 1048576 (1 MiB)", s.MaxSize)
	}
	file, err := resolve("file", s.File)
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

// StoreKey implements StoreModule: one file, one store.
func (s *EmbeddedStore) StoreKey() string { return "embedded " + s.File }

// NewStore implements StoreModule.
func (s *EmbeddedStore) NewStore(log *zap.Logger) (session.Store, error) {
	return boltstore.New(boltstore.Options{Path: s.File, MaxSessions: s.MaxSessions, MaxSize: s.MaxSize, Logger: log}), nil
}

// MemoryStore keeps sessions in the memory of the process, until it ends. It is
// meant for tests.
type MemoryStore struct{}

// CaddyModule returns the Caddy module information.
func (MemoryStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.memory",
		New: func() caddy.Module { return new(MemoryStore) },
	}
}

// StoreKey implements StoreModule.
func (*MemoryStore) StoreKey() string { return "memory" }

// NewStore implements StoreModule.
func (*MemoryStore) NewStore(*zap.Logger) (session.Store, error) { return memstore.New(), nil }

// resolve replaces the placeholders in a text. One that is unknown or leads to
// nothing is an error, which does not show what others lead to.
func resolve(name, text string) (string, error) {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if resolved == "" && text != "" {
		return "", fmt.Errorf("%s: %s is empty", name, text)
	}
	return resolved, nil
}

// Interface guards.
var (
	_ StoreModule       = (*EmbeddedStore)(nil)
	_ StoreModule       = (*MemoryStore)(nil)
	_ caddy.Provisioner = (*EmbeddedStore)(nil)
)
