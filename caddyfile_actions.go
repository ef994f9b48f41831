package caddysession

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/provenance"
	"github.com/caddy-session/caddy-session/internal/settings"
)

// parseSet sets up session_set. Several values make a list. Syntax:
//
//	session_set [<matcher>] <key> <value...>
//
//	session_set [<matcher>] {
//		<key> <value...>
//	}
func parseSet(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	a := new(SessionSet)
	at := fmt.Sprintf("%s:%d", h.File(), h.Line())
	if err := settings.Whole(a, h.Dispenser, (*SessionSet).parse, (*SessionSet).compile); err != nil {
		return nil, err
	}
	if a.mayNameUser() {
		a.At = at
	}
	return a, nil
}

func (a *SessionSet) parse(d *caddyfile.Dispenser) error {
	d.Next()
	a.Set = map[string]json.RawMessage{}
	inline := d.NextArg()
	if inline {
		if err := a.parseLine(d); err != nil {
			return err
		}
	}
	for d.NextBlock(0) {
		if inline {
			return d.Err("session_set takes a key and values, or a block of them, not both")
		}
		if err := a.parseLine(d); err != nil {
			return err
		}
	}
	if len(a.Set) == 0 {
		return d.Err("write: session_set KEY VALUE..., or a block of such lines")
	}
	return nil
}

// mayNameUser reports whether a value reads what the subject must not come from.
// Which key is the subject's, and what is behind a variable, is known later.
func (a *SessionSet) mayNameUser() bool {
	for _, value := range a.Set {
		for _, key := range provenance.In(string(value)) {
			if writer, _ := provenance.Of(key); writer != provenance.Trusted {
				return true
			}
		}
	}
	return false
}

func (a *SessionSet) parseLine(d *caddyfile.Dispenser) error {
	key := d.Val()
	if _, twice := a.Set[key]; twice {
		return d.Errf("session_set: %q is set twice", key)
	}
	if !d.Token().Quoted() && strings.Contains(key, ",") {
		return d.Errf("session_set: the key %s has a comma: write session_set KEY VALUE..., or a block of such lines", key)
	}
	values, err := settings.Values(d)
	if err != nil {
		return err
	}
	switch len(values) {
	case 0:
		return d.Errf("session_set: %q needs a value; session_unset removes a key", key)
	case 1:
		a.Set[key] = caddyconfig.JSON(values[0], nil)
	default:
		a.Set[key] = caddyconfig.JSON(values, nil)
	}
	return nil
}

// parseUnset sets up session_unset. Syntax:
//
//	session_unset [<matcher>] <key...>
func parseUnset(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	keys, err := settings.Names(h.Dispenser)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, h.Err("write: session_unset KEY...")
	}
	return &SessionUnset{Keys: keys}, noBlock(h, "session_unset")
}

// parseDestroy sets up session_destroy. Syntax:
//
//	session_destroy [<matcher>]
func parseDestroy(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	return new(SessionDestroy), noArguments(h)
}

// parseRenew sets up session_renew. Syntax:
//
//	session_renew [<matcher>]
func parseRenew(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	return new(SessionRenew), noArguments(h)
}

func noArguments(h httpcaddyfile.Helper) error {
	h.Next()
	name := h.Val()
	if h.NextArg() {
		return h.Errf("%s takes no argument but a matcher, which begins with @ or /", name)
	}
	return noBlock(h, name)
}

func noBlock(h httpcaddyfile.Helper, name string) error {
	if h.NextBlock(0) {
		return h.Errf("%s has no block", name)
	}
	return nil
}
