package stores

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(Memory{})
}

// Memory keeps sessions in the memory of the process, until it ends. It is
// meant for tests.
type Memory struct{}

// CaddyModule returns the Caddy module information.
func (Memory) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session.stores.memory",
		New: func() caddy.Module { return new(Memory) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store memory
func (s *Memory) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return memoryBlock.Parse(s, d)
}

var memoryBlock = settings.NewBlock("store memory { }", func(*Memory, *caddyfile.Dispenser) settings.Words { return nil })

// StoreKey implements [sessionapp.StoreModule].
func (*Memory) StoreKey() string { return "memory" }

// NewStore implements [sessionapp.StoreModule].
func (*Memory) NewStore(*zap.Logger) (session.Store, error) { return memstore.New(), nil }

// Interface guards.
var (
	_ sessionapp.StoreModule = (*Memory)(nil)
	_ caddyfile.Unmarshaler  = (*Memory)(nil)
)
