package caddysession

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/session"
)

// interim keeps a 1xx response clean. It obeys nothing: the final response is
// still to come.
func (x *exchange) interim(header http.Header) {
	x.protocol.StripResponse(header)
	x.dropCookies(header, "")
}

// final takes what the application asks for out of the header, commits it, and
// puts in what the browser has to know.
func (x *exchange) final(header http.Header, status int) error {
	patch, err := x.protocol.Take(header, x.manager.Policy.MaxData)
	x.dropCookies(header, "")
	if x.failed {
		// Another page for everybody with this cookie, and caches may keep
		// a 404: what error routes send depends on the session, too.
		setCaching(header, status, false, x.session != nil || x.blind)
		return nil
	}
	if patch != nil || err != nil {
		switch {
		case fromCache(header):
			x.manager.Count(session.EventCached)
			x.logger.Error("ignoring session headers of a response that comes from a cache: it is not about this request", x.where())
			patch, err = nil, nil
		case err == nil && sharedCacheable(header):
			err = errors.New("the response says that shared caches may store it, and would give one user's session to others: send Cache-Control: no-store or private")
		}
	}
	if err != nil {
		x.manager.Count(session.EventRefused)
		return x.refuse(err)
	}
	result := session.Result{Session: x.session}
	if patch != nil && patch.Writes() {
		if result, err = x.commit(patch); err != nil {
			return err
		}
	}
	line := x.setCookie(result)
	if line != "" {
		header.Add("Set-Cookie", line)
		x.state.cookie = line
	}
	setCaching(header, status, line != "", x.session != nil || result.Session != nil || x.blind)

	// Caddy answers 499 to clients that have gone before the application
	// answered.
	const clientClosedRequest = 499
	x.touch = !result.Committed && (patch == nil || !patch.NoTouch) && status != clientClosedRequest
	return nil
}

func (x *exchange) sent() {
	if x.touch {
		x.manager.Touch(x.session, time.Now())
	}
}

// setCookie returns the Set-Cookie line that a result calls for, or "".
func (x *exchange) setCookie(result session.Result) string {
	switch result.Cookie {
	case session.CookieSet:
		var age time.Duration // until the browser closes
		if s := result.Session; s.Remembered() || x.Cookie.Persistent {
			age = max(time.Until(s.Deadline()), time.Second)
		}
		return x.Cookie.Set(result.Session.Token().Bearer(), x.secure, age)
	case session.CookieExpire:
		return x.Cookie.Expire(x.secure)
	}
	return ""
}

// commit applies a patch and returns what the response has to do. The error is
// what the client gets instead of the response.
func (x *exchange) commit(patch *session.Patch) (session.Result, error) {
	switch {
	case !x.hasSite:
		return session.Result{}, x.refuse(fmt.Errorf("a session for the host %q, which has no canonical form or is outside of the cookie's domain", x.request.Host))
	case x.blind:
		return session.Result{}, caddyhttp.Error(http.StatusServiceUnavailable,
			errors.New("the response changes a session that could not be loaded"))
	}
	// A client that hangs up does not undo what the application has done.
	result, err := x.manager.Commit(context.WithoutCancel(x.request.Context()), x.site, x.session, patch, time.Now())
	var malformed *session.MalformedError
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, session.ErrVersion):
		return result, caddyhttp.Error(http.StatusConflict, err)
	case errors.As(err, &malformed):
		return result, x.refuse(err)
	}
	x.logger.Error("session was not saved; withholding the response", x.where(), zap.Error(err))
	return result, caddyhttp.Error(http.StatusServiceUnavailable, err)
}

// refuse is the answer to an application that asks for what can't be done.
func (x *exchange) refuse(err error) error {
	x.logger.Error("refusing a response: its session headers are wrong", x.where(), zap.Error(err))
	return caddyhttp.Error(http.StatusBadGateway, err)
}

// where tells which request a log line is about, without its query, which may
// hold secrets.
func (x *exchange) where() zap.Field {
	return zap.Dict("request",
		zap.String("method", x.request.Method), zap.String("host", x.request.Host), zap.String("path", x.request.URL.Path))
}

// passing keeps the responses of requests clean that have no session here.
type passing struct {
	*Handler
	writer hookWriter
	state  *requestState
	owner  *Handler // the handler around this one that has the session, or nil
}

func (p *passing) interim(header http.Header) { p.strip(header) }

func (p *passing) final(header http.Header, _ int) error {
	p.strip(header)
	return nil
}

func (p *passing) sent() {}

func (p *passing) strip(header http.Header) {
	managed := p.protocol.ManagesResponse
	if p.owner != nil { // it obeys its own headers after us
		managed = func(name string) bool {
			return p.protocol.ManagesResponse(name) && !p.owner.protocol.ManagesResponse(name)
		}
	}
	session.Strip(header, managed)
	session.StripList(header, "Trailer", managed)
	p.dropCookies(header, p.state.cookie)
}
