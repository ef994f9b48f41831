package sessionapp_test

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/memstore"
	"github.com/caddy-session/caddy-session/sessionapp"
)

// Shelf is a store module of somebody else: `store shelf NAME` in a Caddyfile,
// `{"module": "shelf", "name": "NAME"}` in JSON.
type Shelf struct {
	Name string `json:"name,omitempty"`
}

func init() { caddy.RegisterModule(Shelf{}) }

// CaddyModule says what comes after `store`.
func (Shelf) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "session.stores.shelf", New: func() caddy.Module { return new(Shelf) }}
}

// UnmarshalCaddyfile reads `shelf NAME`.
func (s *Shelf) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.Next(); !d.AllArgs(&s.Name) {
		return d.Err("write: store shelf NAME")
	}
	return nil
}

// StoreKey tells stores apart: a reload with the same one keeps the store.
func (s *Shelf) StoreKey() string { return "shelf " + s.Name }

// NewStore makes the store, which has to pass the tests of package storetest.
func (s *Shelf) NewStore(log *zap.Logger) (session.Store, error) {
	return memstore.New(), nil // or one of your own
}

// Interface guards.
var (
	_ sessionapp.StoreModule = (*Shelf)(nil)
	_ caddyfile.Unmarshaler  = (*Shelf)(nil)
)

// How a module with another store is written, and what the app makes of it.
// Caddy has to be built with its package: xcaddy build --with.
func ExampleStoreModule() {
	app := new(sessionapp.App)
	err := app.UnmarshalCaddyfile(caddyfile.NewTestDispenser(`session {
		store shelf upper
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(app.StoreRaw))

	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"session": caddyconfig.JSON(app, nil)}})
	if err != nil {
		fmt.Println(err)
		return
	}
	provisioned, err := ctx.App("session")
	if err != nil {
		fmt.Println(err)
		return
	}
	app = provisioned.(*sessionapp.App)
	fmt.Println(app.StoreName())

	ids, _, err := app.Operator().ListSubject(context.Background(), "example.com", "alice", "", 10)
	fmt.Println(len(ids), err)

	// Output:
	// {"module":"shelf","name":"upper"}
	// shelf
	// 0 <nil>
}
