// Package sessionapp is the app `session` of a Caddy configuration, which has
// what all sites share: the store, the streams that end with their sessions, the
// metrics and the events; and it checks the sites when all of them are known.
// It knows modules by their ids only: neither the handler nor any store is
// imported. What a session is and when it changes is told by package session.
package sessionapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/internal/logging"
	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/movestore"
)

func init() {
	caddy.RegisterModule(App{})
	httpcaddyfile.RegisterGlobalOption("session", parseGlobalOption)
}

// App keeps the sessions of all sites in one store. Without configuration it
// is the embedded store.
type App struct {
	// Where sessions are kept. Default: `embedded`, a database file on this
	// machine.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=session.stores inline_key=module"`

	// Where sessions were kept before. Each is moved from there to the store when it
	// is used. Default: nowhere.
	ReadFromRaw json.RawMessage `json:"read_from,omitempty" caddy:"namespace=session.stores inline_key=module"`

	// Where applications reach the session API of their requests, for sites that
	// have it. Default: nowhere.
	API *api.Listener `json:"api,omitempty"`

	api       *api.Server // nil without API
	stopAPI   func()
	store     *sharedStore
	stores    []*sharedStore   // that, and what is read from
	moving    *movestore.Store // of the two, nil without
	sessions  session.Store    // all that there are
	poolKeys  []string
	events    *caddyevents.App
	emissions chan emission
	done      chan struct{} // closed by Cleanup
	operator  *session.Operator
	idles     map[time.Duration]struct{}
	handlers  []placed
	ctx       caddy.Context
	logger    *zap.Logger
	lost      *logging.Repeated // the line about lost events
}

// StoreModule is what modules in the namespace session.stores implement. Equal
// configurations share one store, so a store survives a change of everything
// else in the config. The folder examples/store of the repository has a whole one.
type StoreModule interface {
	// StoreKey identifies the configuration after Provision.
	StoreKey() string

	// NewStore returns a new store. It must not wait for anything, nor touch
	// anything: configurations are also made to be validated. A [session.Opener] is
	// opened when its configuration starts.
	NewStore(*zap.Logger) (session.Store, error)
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "session",
		New: func() caddy.Module { return new(App) },
	}
}

// parseGlobalOption sets up the app. Syntax:
//
//	session {
//		store <name> [<args...>] {
//			...
//		}
//		read_from <name> [<args...>] {
//			...
//		}
//		api <address> {
//			advertise <host:port>
//			tls <certificate> <key>
//			client_auth <ca>
//			insecure_remote
//		}
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // so that the error says where
		return nil, d.Err("the global option session is given twice: write one block")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "session", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile sets up the app from Caddyfile tokens.
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return globalBlock.Parse(a, d)
}

var globalBlock = settings.NewBlock("the global option session { }", func(a *App, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"store":     func() error { return parseStore(d, &a.StoreRaw) },
		"read_from": func() error { return parseStore(d, &a.ReadFromRaw) },
		"api":       func() error { return a.parseAPI(d) },
	}
})

// parseStore reads the name of a store and what its module takes.
func parseStore(d *caddyfile.Dispenser, to *json.RawMessage) error {
	setting := d.Val()
	var names []string
	for _, module := range caddy.GetModules("session.stores") {
		names = append(names, module.ID.Name())
	}
	if !d.NextArg() {
		return d.Errf("%s needs a name: %s", setting, strings.Join(names, ", "))
	}
	name := d.Val()
	if !slices.Contains(names, name) {
		return d.Err(settings.Unknown("store", name, names) + "; others are built into Caddy, or written, as " + ownStores + " says")
	}
	module, err := caddyfile.UnmarshalModule(d, "session.stores."+name)
	if err != nil {
		return err
	}
	*to = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (a *App) parseAPI(d *caddyfile.Dispenser) error {
	a.API = new(api.Listener)
	return settings.Whole(a.API, d, parseListener, (*api.Listener).Check)
}

func parseListener(l *api.Listener, d *caddyfile.Dispenser) error {
	d.Next()
	if err := settings.String(d, &l.Listen); err != nil {
		return d.Err("write: api unix//PATH, or api 127.0.0.1:PORT")
	}
	return apiBlock.Parse(l, d)
}

var apiBlock = settings.NewBlock("api { } in the global option session", func(l *api.Listener, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"advertise":       func() error { return settings.String(d, &l.Advertise) },
		"insecure_remote": func() error { return settings.Flag(d, &l.InsecureRemote) },
		"tls": func() error {
			t := listenerTLS(l)
			if !d.AllArgs(&t.Certificate, &t.Key) {
				return d.Err("write: tls CERTIFICATE KEY, two files in PEM")
			}
			return nil
		},
		"client_auth": func() error { return settings.String(d, &listenerTLS(l).ClientCA) },
	}
})

func listenerTLS(l *api.Listener) *api.TLS {
	if l.TLS == nil {
		l.TLS = new(api.TLS)
	}
	return l.TLS
}

// defaultStore is the store of configurations that name none.
const defaultStore = "embedded"

// ownStores is where to read about stores that are not here.
const ownStores = "https://github.com/caddy-session/caddy-session/blob/main/docs/stores.md"

// pool has the open stores of this process by their keys. Old and new
// configurations overlap during a reload.
var pool = caddy.NewUsagePool()

// sharedStore makes a store a member of the pool.
type sharedStore struct {
	session.Store // timed, and a source
	source        *movestore.Source
	measured      *measured
	name          string   // its module's
	streams       *Streams // of its sessions
}

func newSharedStore(store session.Store, name string, log *zap.Logger) *sharedStore {
	timed := measure(store, name)
	source := movestore.NewSource(timed)
	return &sharedStore{Store: source, source: source, measured: timed, name: name, streams: newStreams(source, log)}
}

func (s *sharedStore) Destruct() error {
	s.streams.close()
	return s.Close()
}

// Provision gets the stores.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger, a.lost = ctx, ctx.Logger(), new(logging.Repeated)
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"module":"` + defaultStore + `"}`)
	}
	var err error
	if a.store, err = a.open("store", "StoreRaw"); err != nil {
		return err
	}
	a.sessions = a.store.Store
	a.stores = []*sharedStore{a.store}
	if a.ReadFromRaw != nil {
		readFrom, err := a.open("read_from", "ReadFromRaw")
		if err != nil {
			return err
		}
		if readFrom == a.store {
			return fmt.Errorf("read_from is the store %s itself: name the one that sessions were kept in before", a.store.name)
		}
		a.moving = movestore.New(a.store.measured, readFrom.source)
		a.sessions = a.moving
		a.stores = append(a.stores, readFrom)
	}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("loading the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.emissions, a.done = make(chan emission, emissionLimit), make(chan struct{})
	a.idles = map[time.Duration]struct{}{}
	if a.API != nil {
		if a.api, err = a.API.Server(a.logger, count); err != nil {
			return err
		}
	}
	a.operator = session.NewOperator(a.sessions, a.observer(a.logger))
	return registerMetrics(ctx.GetMetricsRegistry(), a.stores)
}

// open returns the store of a field, from the configuration before if it is the same.
func (a *App) open(setting, field string) (*sharedStore, error) {
	mod, err := a.ctx.LoadModule(a, field)
	if err != nil {
		return nil, fmt.Errorf("loading %s (stores that are not here: %s): %w", setting, ownStores, err)
	}
	module := mod.(StoreModule)
	key := module.StoreKey()
	shared, _, err := pool.LoadOrNew(key, func() (caddy.Destructor, error) {
		log := zap.New(currentLog{}).Named("session")
		store, err := module.NewStore(log)
		if err != nil {
			return nil, err
		}
		return newSharedStore(store, mod.(caddy.Module).CaddyModule().ID.Name(), log), nil
	})
	if err != nil {
		return nil, fmt.Errorf("making %s: %w", setting, err)
	}
	a.poolKeys = append(a.poolKeys, key)
	return shared.(*sharedStore), nil
}

// NewManager returns the engine of a site, on the shared store.
func (a *App) NewManager(policy session.Policy, protocol *session.Protocol, log *zap.Logger) (*session.Manager, error) {
	a.idles[policy.Idle] = struct{}{}
	return session.NewManager(a.sessions, policy, protocol, a.observer(log))
}

func (a *App) observer(log *zap.Logger) session.Observer {
	return session.Observer{Log: log, Count: count, Notify: a.notify}
}

// Operator returns the engine of the operator.
func (a *App) Operator() *session.Operator { return a.operator }

// SessionAPI returns the server of the session API, nil if there is none.
func (a *App) SessionAPI() *api.Server { return a.api }

// Streams returns what is open and ends with its session.
func (a *App) Streams() *Streams { return a.store.streams }

// StoreName returns the name of the store's module: `redis` of
// `session.stores.redis`.
func (a *App) StoreName() string { return a.store.name }

// StoreStatus tells how the store is doing, and the one that is read from: both have to
// be up, and sessions of both count. It may have to ask, which takes a second at most
// for each.
func (a *App) StoreStatus() StoreStatus {
	status := a.store.status()
	for _, readFrom := range a.stores[1:] {
		from := readFrom.status()
		status.Up = status.Up && from.Up
		status.Streams += from.Streams
		if status.Sessions == nil || from.Sessions == nil {
			status.Sessions = nil
		} else {
			*status.Sessions += *from.Sessions
		}
	}
	return status
}

// Idle returns the idle limit of all sites, 0 if they differ.
func (a *App) Idle() time.Duration {
	if len(a.idles) == 1 {
		for idle := range a.idles {
			return idle
		}
	}
	return 0
}

// Start opens a store that has to be opened, so that its trouble is seen here
// rather than by the first visitor. Redis is asked and not waited for.
func (a *App) Start() error {
	go a.emitAll()
	if err := a.checkSites(); err != nil {
		return err
	}
	if a.API != nil {
		var err error
		if a.stopAPI, err = a.API.Serve(a.api); err != nil {
			return err
		}
	}
	for _, store := range a.stores {
		if opener, ok := session.As[session.Opener](store.Store); ok {
			if err := opener.Open(context.Background()); err != nil {
				return err
			}
		}
	}
	if a.moving != nil {
		return a.moving.Open(context.Background())
	}
	return nil
}

// checkSites warns about mistakes in the sites, and refuses those that let anybody
// sign in as anybody.
func (a *App) checkSites() error {
	found, err := a.findings()
	for _, f := range found {
		f.Log(a.logger)
	}
	return err
}

// Stop does nothing: requests are still being served.
func (a *App) Stop() error { return nil }

// Cleanup lets go of the store. It is called on half-provisioned values too.
func (a *App) Cleanup() error {
	defer forgetSources()
	if a.done != nil {
		close(a.done)
	}
	if a.stopAPI != nil { // not in Stop: requests may go on until here
		a.stopAPI()
	}
	if a.moving != nil {
		a.moving.Close()
	}
	if a.poolKeys == nil {
		return nil
	}
	// Caddy starts nothing to validate a configuration. That it was made and is
	// good, so that all apps are there, is told by nothing else.
	if cause := context.Cause(a.ctx); cause != nil && cause.Error() == "validation complete" {
		if checking.report != nil {
			found, err := a.findings()
			checking.report(append(found, a.inspectStores()...), err)
		} else if err := a.checkSites(); err != nil {
			a.logger.Error("this configuration will not start", zap.Error(err))
		}
	}
	var errs []error
	for _, key := range a.poolKeys {
		_, err := pool.Delete(key)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
	_ caddy.App             = (*App)(nil)
	_ caddy.Provisioner     = (*App)(nil)
	_ caddy.CleanerUpper    = (*App)(nil)
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ zapcore.Core          = currentLog{}
)
