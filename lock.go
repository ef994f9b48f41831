package caddysession

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/api"
	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/session"
)

// Lock has requests of one session run one at a time, at all Caddys with the same
// store. It is the lock of the session API: an application that asks for that has it
// already. Requests without a session do not wait.
type Lock struct {
	// Which requests. Default: all. Requests that do not match neither wait nor
	// are waited for.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// How long a request waits at most, before it is answered 423. Required.
	Wait caddy.Duration `json:"wait,omitempty"`

	matchers caddyhttp.MatcherSets
	matcher  *caddyfile.Token // in the Caddyfile
}

// parseLock reads a line `lock [<matcher>] <wait>`. Only what parses the whole
// directive knows the matchers of the site: see findMatcher.
func (h *Handler) parseLock(d *caddyfile.Dispenser) error {
	h.Lock = new(Lock)
	switch d.CountRemainingArgs() {
	case 1:
	case 2:
		d.NextArg()
		token := d.Token()
		if !strings.ContainsAny(token.Text[:min(1, len(token.Text))], "@/*") {
			return d.Errf("lock %s: a matcher begins with @ or /", token.Text)
		}
		h.Lock.matcher = &token
	default:
		return d.Err("write: lock WAIT, or lock MATCHER WAIT, such as lock @cart 5s")
	}
	return settings.Duration(d, &h.Lock.Wait)
}

// findMatcher looks up the matcher of the Caddyfile's line.
func (l *Lock) findMatcher(h httpcaddyfile.Helper) error {
	if l == nil || l.matcher == nil {
		return nil
	}
	h.Dispenser = caddyfile.NewDispenser([]caddyfile.Token{*l.matcher})
	set, _, err := h.MatcherToken()
	if err != nil {
		return h.WrapErr(err)
	}
	if set != nil {
		l.MatcherSetsRaw = caddyhttp.RawMatcherSets{set}
	}
	return nil
}

func (l *Lock) check() error {
	if l != nil && l.Wait <= 0 {
		return errors.New("lock: say how long a request waits at most, such as 5s")
	}
	return nil
}

func (l *Lock) provision(ctx caddy.Context) error {
	if l == nil {
		return nil
	}
	sets, err := ctx.LoadModule(l, "MatcherSetsRaw")
	if err != nil {
		return fmt.Errorf("loading the matchers of lock: %w", err)
	}
	return l.matchers.FromInterface(sets)
}

// lock has a request with a session wait for its turn, if it has to. The request goes
// on with the session as it is then. The error is what the client gets.
func (x *exchange) lock(w http.ResponseWriter) error {
	matches, err := x.h.Lock.matchers.AnyMatchWithError(x.request)
	if err == nil {
		err = x.writer.Failure() // of a placeholder
	}
	if err != nil || !matches {
		return err
	}
	ctx, span := x.span("session.lock")
	x.capability = api.New(x.h.manager, &x.site, x.came.session, x, x.parent())
	s, err := x.capability.Lock(ctx, time.Duration(x.h.Lock.Wait))
	if span != nil {
		endLock(span, err)
	}
	switch {
	case err == nil:
		x.came.session = s
		return nil
	case errors.Is(err, api.ErrGone):
		// As with a cookie from before: the browser may have another by now.
		x.capability, x.came.session, x.site.NoAnonymous = nil, nil, true
		return nil
	case ctx.Err() != nil:
		return caddyhttp.Error(clientClosedRequest, err)
	case errors.Is(err, session.ErrLocked):
		return x.later(w, http.StatusLocked, err)
	}
	x.capability = nil
	return x.unavailable(w, err)
}
