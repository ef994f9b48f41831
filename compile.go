package caddysession

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/internal/appcookies"
	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
)

// maxRealm keeps the header line of a record within its bounds.
const maxRealm = 255

// compile checks the whole configuration and makes of it what does not depend on
// the rest of Caddy: the policy, which it returns, the cookie and the protocol.
func (h *Handler) compile() (session.Policy, error) {
	p, err := h.policy()
	if err != nil {
		return p, err
	}
	switch h.OnStoreError {
	case "", "fail", "pass":
	default:
		return p, fmt.Errorf("on_store_error %q: write fail or pass", h.OnStoreError)
	}
	switch h.OnEnd {
	case "", "close", "keep":
	default:
		return p, fmt.Errorf("on_end %q: write close or keep", h.OnEnd)
	}
	if err := h.Lock.check(); err != nil {
		return p, err
	}
	if len(h.Realm) > maxRealm {
		return p, fmt.Errorf("realm has %d bytes, more than %d", len(h.Realm), maxRealm)
	}
	if h.cookie, err = h.Cookie.Compile(); err != nil {
		return p, err
	}
	for _, word := range h.RequestHeaders {
		if known := session.RequestHeaders(); !slices.Contains(known, word) {
			return p, errors.New("request_headers: " + settings.Unknown("header", word, known))
		}
	}
	if h.protocol, err = session.NewProtocol(h.HeaderPrefix, h.Forward, p, h.RequestHeaders...); err != nil {
		return p, err
	}
	if h.API {
		h.protocol = h.protocol.WithAPI()
	}
	if h.Cookies != nil {
		if err := h.checkRules(); err != nil {
			return p, fmt.Errorf("cookies: %w", err)
		}
	}
	h.managed = h.protocol.ManagesRequest
	return p, nil
}

// policy returns the limits that the settings ask for.
func (h *Handler) policy() (session.Policy, error) {
	p := session.DefaultPolicy()
	override := func(setting *time.Duration, value caddy.Duration) {
		if value != 0 {
			*setting = time.Duration(value)
		}
	}
	override(&p.Lifetime, h.Lifetime)
	if p.Idle = min(p.Idle, p.Lifetime); h.Idle != 0 {
		p.Idle = time.Duration(h.Idle)
	}
	override(&p.Remember, h.Remember)
	override(&p.Unclaimed, h.Unclaimed)
	override(&p.Touch, h.Touch)
	p.RememberedUntil = appcookies.RememberedUntil
	if h.MaxData != 0 {
		p.MaxData = h.MaxData
	}
	if h.Exposed != 0 {
		p.Exposed = h.Exposed
	}
	if s := h.Subject; s != nil {
		if s.Key != "" {
			p.SubjectKey = s.Key
		}
		p.MaxSessions = s.Max
	}
	switch h.Encryption {
	case "", "on":
	case "off":
		p.Plain = true
	default:
		return p, fmt.Errorf("encryption %q: write on or off", h.Encryption)
	}
	return p, p.Validate()
}

// cookieKind is in the names of headers that are called after cookies, so that
// they are not those of data keys.
const cookieKind = "Cookie-"

// checkRules checks the rules for the application's own cookies, and has the
// protocol manage the headers of their forward lines.
func (h *Handler) checkRules() error {
	err := h.Cookies.Validate(h.cookie.Names())
	for _, f := range h.Cookies.Forward {
		if err == nil {
			h.protocol, err = h.protocol.Reserve(f.Name, h.protocol.HeaderName(cookieKind, f.Name, f.Header))
		}
	}
	return err
}

// compileRules makes the rules for the application's own cookies, nil without
// any.
func (h *Handler) compileRules(policy session.Policy) (*appcookies.Rules, error) {
	if h.Cookies == nil {
		return nil, nil
	}
	resolved := *h.Cookies
	resolved.Keys = make([]string, len(h.Cookies.Keys))
	for i, key := range h.Cookies.Keys {
		var err error
		if resolved.Keys[i], err = settings.Resolve("cookies: keys", key); err != nil {
			return nil, err
		}
	}
	fits := func(value string) bool { return len(session.EncodeValue(value)) <= policy.Exposed }
	keeper, err := resolved.Compile(h.cookie.Names(), fits)
	if err != nil {
		return nil, fmt.Errorf("cookies: %w", err)
	}
	rules := &appcookies.Rules{Keeper: keeper, Slack: policy.Touch, Count: h.manager.Count, Log: h.logger}
	for _, f := range h.Cookies.Forward {
		rules.Headers = append(rules.Headers, h.protocol.HeaderName(cookieKind, f.Name, f.Header))
	}
	return rules, nil
}
