package sessionapp

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/finding"
	"github.com/caddy-session/caddy-session/session"
)

// findings looks for mistakes in the sites. The error is one that lets anybody sign
// in as anybody. It is called when all apps are there: while they are made, asking
// for one makes it.
func (a *App) findings() (found []finding.Finding, err error) {
	defer forgetSources()
	http, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil, nil
	}
	find := func(f finding.Finding) { found = append(found, f) }
	checkWiring(http.(*caddyhttp.App), find)
	err = checkIdentity(http.(*caddyhttp.App), find)
	if len(a.handlers) == 0 && len(found) == 0 {
		find(noSession)
	}
	return found, err
}

var noSession = finding.Finding{
	Problem: "no site has sessions",
	Remedy:  "write session into the site whose application is to have them, before its reverse_proxy or php_fastcgi",
}

// inspectStores asks the stores whether they are fit for sessions, those that can tell.
func (a *App) inspectStores() (found []finding.Finding) {
	for _, shared := range a.stores {
		store, ok := session.As[interface {
			Inspect(context.Context) ([]finding.Finding, error)
		}](shared.Store)
		if !ok {
			continue
		}
		of, err := store.Inspect(context.Background())
		if err != nil {
			of = []finding.Finding{{
				Problem: "the store " + shared.name + " can't be asked: " + err.Error(),
				Remedy:  "see whether it runs, and can be reached from here"}}
		}
		found = append(found, of...)
	}
	return found
}

// checking is the run of Check in this process.
var checking struct {
	sync.Mutex
	report func([]finding.Finding, error) // nil: there is none
}

// Check looks at a configuration without starting it, and returns what a start
// would warn about, and what the store says of itself. The error is what would
// keep it from starting.
func Check(config []byte) (found []finding.Finding, err error) {
	var cfg *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(config), &cfg); err != nil {
		return nil, fmt.Errorf("decoding config: %w", err)
	}
	if cfg == nil {
		cfg = new(caddy.Config)
	}
	quiet(cfg)
	asked, refused := false, error(nil)
	checking.Lock()
	defer checking.Unlock()
	checking.report = func(f []finding.Finding, e error) { asked, found, refused = true, f, e }
	defer func() { checking.report = nil }()
	if err := caddy.Validate(cfg); err != nil {
		return nil, err
	}
	if !asked { // there is no app, for nothing needs it
		found = []finding.Finding{noSession}
	}
	return found, refused
}

// quiet has a configuration log nothing: what matters is returned.
func quiet(cfg *caddy.Config) {
	if cfg.Logging == nil {
		cfg.Logging = new(caddy.Logging)
	}
	if cfg.Logging.Logs == nil {
		cfg.Logging.Logs = map[string]*caddy.CustomLog{}
	}
	if cfg.Logging.Logs["default"] == nil {
		cfg.Logging.Logs["default"] = new(caddy.CustomLog)
	}
	// Not Caddy's discard, which has no level: debug_errors asks for it.
	writer := caddyconfig.JSON(map[string]any{"output": "file", "filename": os.DevNull, "roll": false}, nil)
	for _, log := range cfg.Logging.Logs {
		log.WriterRaw = writer
	}
}
