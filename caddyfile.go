package caddysession

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/boltstore"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("session", parseGlobalOption)
	httpcaddyfile.RegisterDirective("session", parseDirective)
	// Before redir, so that redirections, rewrites and error pages can depend
	// on the session. After header: what that sets stays on our error responses.
	httpcaddyfile.RegisterDirectiveOrder("session", httpcaddyfile.Before, "redir")

	// Next to it, so that redirections don't keep them from running. What they
	// do happens when the response begins, so they know of basic_auth anyway.
	for name, parse := range map[string]httpcaddyfile.UnmarshalHandlerFunc{
		"session_set": parseSet, "session_unset": parseUnset, "session_destroy": parseDestroy, "session_renew": parseRenew,
	} {
		httpcaddyfile.RegisterHandlerDirective(name, parse)
	}
	for _, name := range []string{"session_set", "session_unset", "session_destroy", "session_renew"} {
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "redir")
	}
}

// parseGlobalOption sets up the app. Syntax:
//
//	session {
//		store <name> [<args...>] {
//			...
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
	return settings{
		"store": func() error {
			if !d.NextArg() {
				return d.Err("store needs a name: embedded, redis or memory")
			}
			name := d.Val()
			module, err := caddyfile.UnmarshalModule(d, "session.stores."+name)
			if err != nil {
				return err
			}
			a.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
			return nil
		},
	}.parse(d)
}

// parseDirective sets up a handler. The matcher becomes part of the handler,
// not of the route: what clients must not send is removed where it does not
// match, too.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcherSet, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	handler := new(Handler)
	if err := handler.UnmarshalCaddyfile(h.Dispenser); err != nil {
		return nil, err
	}
	if matcherSet != nil {
		handler.MatcherSetsRaw = caddyhttp.RawMatcherSets{matcherSet}
	}
	return h.NewRoute(nil, handler), nil
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	session [<matcher>] {
//		idle           <duration>
//		lifetime       <duration>
//		remember       <duration>
//		unclaimed      <duration>
//		touch          <duration>
//		subject        <key> [max <sessions>]
//		realm          <name>
//		forward        <key> [<header>]
//		header_prefix  <prefix>
//		exposed        <size>
//		max_data       <size>
//		on_store_error fail|pass
//		encryption     on|off
//		on_end         close|keep
//		record         client
//		cookie {
//			name        <name>|auto
//			domain      <domain>
//			path        <path>
//			same_site   lax|strict|none
//			secure      auto|on|off
//			priority    low|medium|high
//			partitioned
//			persistent
//		}
//		cookies {
//			...
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("unexpected %q: a matcher begins with @ or /, and settings go into a block", d.Val())
	}
	err := settings{
		"idle":           func() error { return parseDuration(d, &h.Idle) },
		"lifetime":       func() error { return parseDuration(d, &h.Lifetime) },
		"remember":       func() error { return parseDuration(d, &h.Remember) },
		"unclaimed":      func() error { return parseDuration(d, &h.Unclaimed) },
		"touch":          func() error { return parseDuration(d, &h.Touch) },
		"subject":        func() error { return h.parseSubject(d) },
		"realm":          func() error { return parseWord(d, &h.Realm) },
		"forward":        func() error { return h.parseForward(d) },
		"header_prefix":  func() error { return parseWord(d, &h.HeaderPrefix) },
		"exposed":        func() error { return parseSize(d, &h.Exposed) },
		"max_data":       func() error { return parseSize(d, &h.MaxData) },
		"on_store_error": func() error { return parseWord(d, &h.OnStoreError) },
		"encryption":     func() error { return parseWord(d, &h.Encryption) },
		"on_end":         func() error { return parseWord(d, &h.OnEnd) },
		"record":         func() error { return h.parseRecord(d) },
		"cookie":         func() error { return h.parseCookie(d) },
		"cookies":        func() error { return h.parseCookies(d) },
	}.parse(d, "forward")
	if err != nil {
		return err
	}
	if _, _, err := h.compile(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (h *Handler) parseSubject(d *caddyfile.Dispenser) error {
	h.Subject = new(Subject)
	args := d.RemainingArgs()
	switch {
	case len(args) == 1:
	case len(args) == 3 && args[1] == "max":
		n, err := strconv.Atoi(args[2])
		if err != nil || n < 1 {
			return d.Errf("subject %s max %q: give a number above zero", args[0], args[2])
		}
		h.Subject.Max = n
	default:
		return d.Err("write: subject KEY, or subject KEY max SESSIONS")
	}
	h.Subject.Key = args[0]
	return nil
}

func (h *Handler) parseRecord(d *caddyfile.Dispenser) error {
	if args := d.RemainingArgs(); len(args) != 1 || args[0] != "client" {
		return d.Err("write: record client")
	}
	h.RecordClient = true
	return nil
}

func (h *Handler) parseForward(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch len(args) {
	case 1:
		h.Forward = append(h.Forward, session.Forward{Key: args[0]})
	case 2:
		h.Forward = append(h.Forward, session.Forward{Key: args[0], Header: args[1]})
	default:
		return d.Err("write: forward KEY, or forward KEY HEADER")
	}
	return nil
}

func (h *Handler) parseCookie(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("the settings of the cookie go into a block: cookie { ... }")
	}
	c := &h.Cookie
	return settings{
		"name":        func() error { return parseWord(d, &c.Name) },
		"domain":      func() error { return parseWord(d, &c.Domain) },
		"path":        func() error { return parseWord(d, &c.Path) },
		"same_site":   func() error { return parseWord(d, &c.SameSite) },
		"secure":      func() error { return parseWord(d, &c.Secure) },
		"priority":    func() error { return parseWord(d, &c.Priority) },
		"partitioned": func() error { return parseFlag(d, &c.Partitioned) },
		"persistent":  func() error { return parseFlag(d, &c.Persistent) },
	}.parse(d)
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store embedded [<file>] {
//		max_sessions <number>
//		max_size     <size>
//	}
func (s *EmbeddedStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		s.File = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	return settings{
		"max_sessions": func() error {
			if err := parseNumber(d, &s.MaxSessions); err != nil {
				return err
			}
			if s.MaxSessions < 1 {
				return d.Err("max_sessions must be above zero")
			}
			return nil
		},
		"max_size": func() error {
			var text string
			if err := parseWord(d, &text); err != nil {
				return err
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size < boltstore.LeastMaxSize || size > 1<<60 {
				return d.Errf("max_size %q: write a size such as 2GiB, at least 1MiB", text)
			}
			s.MaxSize = int64(size)
			return nil
		},
	}.parse(d)
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store memory
func (*MemoryStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.ArgErr()
	}
	return settings{}.parse(d)
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store redis [<address...>] {
//		sentinel    <primary> {
//			username <name>
//			password <password>
//		}
//		username    <name>
//		password    <password>
//		db          <number>
//		key_prefix  <prefix>
//		timeout     <duration>
//		wait        <replicas> <duration>
//		client_name <name>
//		near_cache  [<size>] {
//			max_age <duration>
//		}
//		tls {
//			ca          <file...>
//			certificate <file> <key_file>
//			server_name <name>
//		}
//	}
func (s *RedisStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	s.Addresses = d.RemainingArgs()
	err := settings{
		"sentinel":    func() error { return s.parseSentinel(d) },
		"wait":        func() error { return s.parseWait(d) },
		"username":    func() error { return parseWord(d, &s.Username) },
		"password":    func() error { return parseWord(d, &s.Password) },
		"db":          func() error { return parseNumber(d, &s.DB) },
		"key_prefix":  func() error { return parseWord(d, &s.KeyPrefix) },
		"timeout":     func() error { return parseDuration(d, &s.Timeout) },
		"client_name": func() error { return parseWord(d, &s.ClientName) },
		"near_cache": func() error {
			s.NearCache = new(RedisNearCache)
			return s.NearCache.parse(d)
		},
		"tls": func() error {
			s.TLS = new(RedisTLS)
			return s.TLS.parse(d)
		},
	}.parse(d)
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (s *RedisStore) parseSentinel(d *caddyfile.Dispenser) error {
	s.Sentinel = new(RedisSentinel)
	if !d.NextArg() {
		return d.Err("sentinel takes the name of the primary, as the Sentinels know it")
	}
	s.Sentinel.Master = d.Val()
	if d.NextArg() {
		return d.Err("sentinel takes one name; the addresses of the Sentinels belong after store redis")
	}
	return settings{
		"username": func() error { return parseWord(d, &s.Sentinel.Username) },
		"password": func() error { return parseWord(d, &s.Sentinel.Password) },
	}.parse(d)
}

func (s *RedisStore) parseWait(d *caddyfile.Dispenser) error {
	var replicas, within string
	if !d.AllArgs(&replicas, &within) {
		return d.Err("wait takes how many replicas and how long, such as wait 1 100ms")
	}
	n, err := strconv.Atoi(replicas)
	if err != nil || n < 1 {
		return d.Errf("wait %q: write how many replicas, 1 or more", replicas)
	}
	duration, err := caddy.ParseDuration(within)
	if err != nil || duration <= 0 {
		return d.Errf("wait %s %q: write a duration such as 100ms", replicas, within)
	}
	s.Wait = &RedisWait{Replicas: n, Timeout: caddy.Duration(duration)}
	return nil
}

func (t *RedisTLS) parse(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("the settings of tls go into a block: tls { ... }")
	}
	return settings{
		"ca": func() error {
			if t.CA = d.RemainingArgs(); len(t.CA) == 0 {
				return d.ArgErr()
			}
			return nil
		},
		"certificate": func() error {
			if !d.AllArgs(&t.Certificate, &t.Key) {
				return d.Err("write: certificate FILE KEY_FILE")
			}
			return nil
		},
		"server_name": func() error { return parseWord(d, &t.ServerName) },
	}.parse(d)
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*EmbeddedStore)(nil)
	_ caddyfile.Unmarshaler = (*MemoryStore)(nil)
	_ caddyfile.Unmarshaler = (*RedisStore)(nil)
)
