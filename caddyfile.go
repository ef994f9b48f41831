package caddysession

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	httpcaddyfile.RegisterDirective("session", parseDirective)
	// Before redir, so that redirections, rewrites and error pages can depend
	// on the session. After header: what that sets stays on our error responses.
	httpcaddyfile.RegisterDirectiveOrder("session", httpcaddyfile.Before, "redir")

	// Next to it, so that redirections don't keep them from running. What they
	// do happens when the response begins, so they know of basic_auth anyway.
	for name, parse := range map[string]httpcaddyfile.UnmarshalHandlerFunc{
		"session_set": parseSet, "session_unset": parseUnset, "session_destroy": parseDestroy, "session_renew": parseRenew,
		"session_label": parseLabel,
	} {
		httpcaddyfile.RegisterHandlerDirective(name, func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
			h.Next()
			file, line := h.File(), h.Line()
			h.Reset()
			handler, err := parse(h)
			if err == nil {
				sessionapp.NoteSource(handler.(caddy.Module), file, line)
			}
			return handler, err
		})
		settings.Belongs(name, "the site, beside session")
	}
	for _, name := range []string{"session_set", "session_unset", "session_destroy", "session_renew", "session_label"} {
		httpcaddyfile.RegisterDirectiveOrder(name, httpcaddyfile.Before, "redir")
	}
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
	if err := handler.Lock.findMatcher(h); err != nil {
		return nil, err
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
//		request_headers <names...>
//		header_prefix  <prefix>
//		exposed        <size>
//		max_data       <size>
//		on_store_error fail|pass
//		encryption     on|off
//		api
//		lock           [<matcher>] <wait>
//		on_end         close|keep
//		record         client
//		upgrade        <protocols...>
//		debug_errors
//		cookie {
//			name        <name>|auto
//			domain      <domain>
//			path        <path>
//			same_site   lax|strict|none
//			secure      auto|on|off
//			priority    low|medium|high
//			partitioned
//			persistent  [idle]
//		}
//		cookies {
//			...
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	return settings.Whole(h, d, (*Handler).parse, func(h *Handler) error {
		_, err := h.compile()
		return err
	})
}

func (h *Handler) parse(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("unexpected %q: a matcher begins with @ or /, and settings go into a block", d.Val())
	}
	return directiveBlock.Parse(h, d)
}

var directiveBlock = settings.NewBlock("the directive session { }", func(h *Handler, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"idle":            func() error { return settings.Duration(d, &h.Idle) },
		"lifetime":        func() error { return settings.Duration(d, &h.Lifetime) },
		"remember":        func() error { return settings.Duration(d, &h.Remember) },
		"unclaimed":       func() error { return settings.Duration(d, &h.Unclaimed) },
		"touch":           func() error { return settings.Duration(d, &h.Touch) },
		"subject":         func() error { return h.parseSubject(d) },
		"realm":           func() error { return settings.String(d, &h.Realm) },
		"forward":         func() error { return h.parseForward(d) },
		"request_headers": func() error { return parseNames(d, &h.RequestHeaders) },
		"header_prefix":   func() error { return settings.String(d, &h.HeaderPrefix) },
		"exposed":         func() error { return settings.Size(d, &h.Exposed) },
		"max_data":        func() error { return settings.Size(d, &h.MaxData) },
		"on_store_error":  func() error { return settings.String(d, &h.OnStoreError) },
		"encryption":      func() error { return settings.String(d, &h.Encryption) },
		"api":             func() error { return settings.Flag(d, &h.API) },
		"lock":            func() error { return h.parseLock(d) },
		"on_end":          func() error { return settings.String(d, &h.OnEnd) },
		"upgrade":         func() error { return parseNames(d, &h.Upgrade) },
		"record":          func() error { return h.parseRecord(d) },
		"debug_errors":    func() error { return settings.Flag(d, &h.DebugErrors) },
		"cookie":          func() error { return h.parseCookie(d) },
		"cookies":         func() error { return h.parseCookies(d) },
	}
}, "forward")

func (h *Handler) parseSubject(d *caddyfile.Dispenser) error {
	h.Subject = new(Subject)
	args, err := settings.Names(d)
	if err != nil {
		return err
	}
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
	args, err := settings.Names(d)
	if err != nil {
		return err
	}
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
	return cookieBlock.Parse(&h.Cookie, d)
}

func parsePersistent(c *cookiejar.Cookie, d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); {
	case len(args) == 0:
		c.Persistent = true
	case len(args) == 1 && args[0] == "idle":
		c.PersistentIdle = true
	default:
		return d.Err("write: persistent, or persistent idle")
	}
	return nil
}

var cookieBlock = settings.NewBlock("cookie { } in session", func(c *cookiejar.Cookie, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"name":        func() error { return settings.String(d, &c.Name) },
		"domain":      func() error { return settings.String(d, &c.Domain) },
		"path":        func() error { return settings.String(d, &c.Path) },
		"same_site":   func() error { return settings.String(d, &c.SameSite) },
		"secure":      func() error { return settings.String(d, &c.Secure) },
		"priority":    func() error { return settings.String(d, &c.Priority) },
		"partitioned": func() error { return settings.Flag(d, &c.Partitioned) },
		"persistent":  func() error { return parsePersistent(c, d) },
	}
})

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
