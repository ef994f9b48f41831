package caddysession

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-session/caddy-session/session"
)

func init() {
	caddy.RegisterModule(App{})
}

// App keeps the sessions of all sites in one store. Without configuration it
// is the embedded store.
type App struct {
	// Where sessions are kept. Default: `embedded`, a database file on this
	// machine.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=session.stores inline_key=module"`

	store     *sharedStore
	poolKey   string
	events    *caddyevents.App
	emissions chan emission
	done      chan struct{} // closed by Cleanup
	operator  *session.Operator
	idles     map[time.Duration]struct{}
	ctx       caddy.Context
	logger    *zap.Logger
}

// StoreModule is what modules in the namespace session.stores implement. Equal
// configurations share one store, so a store survives a change of everything
// else in the config.
type StoreModule interface {
	// StoreKey identifies the configuration after Provision.
	StoreKey() string

	// NewStore returns a new store. It must not wait for anything, nor touch
	// anything: configurations are also made to be validated.
	NewStore(*zap.Logger) (session.Store, error)
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session",
		New: func() caddy.Module { return new(App) },
	}
}

// stores are the open stores of this process by their keys. Old and new
// configurations overlap during a reload.
var stores = caddy.NewUsagePool()

// sharedStore makes a store a member of the pool.
type sharedStore struct {
	session.Store // timed
	measured      *measured
	name          string       // its module's
	open          *connections // of its sessions
}

func newSharedStore(store session.Store, name string, log *zap.Logger) *sharedStore {
	timed := measure(store, name)
	return &sharedStore{Store: timed, measured: timed, name: name, open: newConnections(timed, log)}
}

func (s *sharedStore) Destruct() error {
	s.open.stop()
	return s.Close()
}

// Provision gets the store, from the configuration before if it is the same.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"module":"embedded"}`)
	}
	mod, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return fmt.Errorf("loading store: %w", err)
	}
	module := mod.(StoreModule)
	key := module.StoreKey()
	shared, _, err := stores.LoadOrNew(key, func() (caddy.Destructor, error) {
		log := zap.New(currentLog{}).Named("session")
		store, err := module.NewStore(log)
		if err != nil {
			return nil, err
		}
		return newSharedStore(store, mod.(caddy.Module).CaddyModule().ID.Name(), log), nil
	})
	if err != nil {
		return fmt.Errorf("making store: %w", err)
	}
	a.poolKey = key
	a.store = shared.(*sharedStore)
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.emissions, a.done = make(chan emission, emissionLimit), make(chan struct{})
	a.idles = map[time.Duration]struct{}{}
	a.operator = session.NewOperator(a.store.Store, session.Observer{Log: a.logger, Count: count, Notify: a.notify})
	return registerMetrics(ctx.GetMetricsRegistry(), a.store)
}

// onlyIdle returns the idle limit of all handlers, 0 if they differ.
func (a *App) onlyIdle() time.Duration {
	if len(a.idles) == 1 {
		for idle := range a.idles {
			return idle
		}
	}
	return 0
}

// Start opens a store that has to be opened, so that its trouble is seen here
// rather than by the first visitor. Redis is not waited for.
func (a *App) Start() error {
	go a.emitAll()
	if http, err := a.ctx.AppIfConfigured("http"); err == nil {
		checkWiring(http.(*caddyhttp.App), a.logger)
	}
	if opener, ok := session.As[interface{ Open(context.Context) error }](a.store.Store); ok {
		return opener.Open(context.Background())
	}
	return nil
}

// Stop does nothing: requests are still being served.
func (a *App) Stop() error { return nil }

// Cleanup lets go of the store. It is called on half-provisioned values too.
func (a *App) Cleanup() error {
	if a.done != nil {
		close(a.done)
	}
	if a.poolKey == "" {
		return nil
	}
	_, err := stores.Delete(a.poolKey)
	return err
}

// currentLog writes to the log of the configuration that is running now: a
// store outlives the one that made it.
type currentLog struct{}

func (currentLog) Enabled(level zapcore.Level) bool {
	return caddy.Log().Core().Enabled(level)
}

func (currentLog) With(fields []zapcore.Field) zapcore.Core {
	return caddy.Log().Core().With(fields)
}

func (currentLog) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return caddy.Log().Core().Check(e, ce)
}

func (currentLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return caddy.Log().Core().Write(e, fields)
}

func (currentLog) Sync() error { return nil }

// Interface guards.
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
	_ zapcore.Core       = currentLog{}
)
