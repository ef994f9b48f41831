package sessionapp

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/placeholders"
)

// identityCheck holds a directive to the handlers that run before it.
type identityCheck struct {
	handlers []SessionHandler // that may have the session
	sure     []SessionHandler // those of them that run in any case
	defined  *definitions     // nil: not known yet
	server   *caddyhttp.Server
	warn     func(what string)
}

func (c *identityCheck) check(s SessionSetter) error {
	for _, h := range c.handlers {
		subject := h.SubjectKey()
		for _, text := range subjectTexts(s.Assignments(), subject) {
			found := c.text(text, map[string]bool{})
			if found.writer == placeholders.Trusted {
				continue
			}
			directive := "session_set " + subject
			if h, ok := s.(headerSetter); ok {
				directive = "header " + h.header
			}
			what := fmt.Sprintf("%s reads %s, %s", directive, found.via, found.what)
			if found.writer == placeholders.Visitor {
				if at := sourceOf(s); at != "" {
					what = at + ": " + what
				}
				return fmt.Errorf("%s, so anybody could sign in as anybody: %s", what, found.remedy(subject))
			}
			if c.warn != nil {
				c.warn(what)
			}
		}
	}
	return nil
}

// suspicion is who can write a value. Visitor is worse than Unknown, which is worse
// than Trusted; there are no others.
type suspicion struct {
	writer placeholders.Writer
	key    string // the placeholder that is read in the end
	via    string // the way to it
	what   string
}

func (f suspicion) worseThan(other suspicion) bool {
	return f.writer == placeholders.Visitor && other.writer != placeholders.Visitor ||
		f.writer == placeholders.Unknown && other.writer == placeholders.Trusted
}

// remedy says what to write instead.
func (f suspicion) remedy(subject string) string {
	if name, ok := strings.CutPrefix(f.key, placeholders.HeaderPrefix); ok {
		return fmt.Sprintf("write forward %s %s into the block of session, which removes that header from what clients send", subject, name)
	}
	if strings.HasPrefix(f.key, "http.request.cookie.") {
		return "keep, seal or sign that cookie in the block cookies of session"
	}
	return "take it from what has been checked, such as {http.auth.user.id}, or set another key"
}

// text returns the worst of the placeholders in a text.
func (c *identityCheck) text(text string, seen map[string]bool) suspicion {
	worst := suspicion{writer: placeholders.Trusted}
	for _, key := range placeholders.In(text) {
		if f := c.placeholder(key, seen); f.worseThan(worst) {
			worst = f
		}
	}
	return worst
}

// placeholder looks into one. seen has those that are being looked into.
func (c *identityCheck) placeholder(key string, seen map[string]bool) suspicion {
	f := suspicion{key: key, via: "{" + key + "}"}
	if seen[key] {
		f.writer = placeholders.Trusted // by itself it is nothing
		return f
	}
	seen[key] = true
	defer delete(seen, key)

	writer, what := placeholders.Of(key)
	f.what = what
	values, defined := c.defined.of(key)
	switch writer {
	case placeholders.Header:
		name := strings.TrimPrefix(key, placeholders.HeaderPrefix)
		writer = c.unless(func(h SessionHandler) bool { return h.StripsHeader(name) })
		for _, h := range c.handlers {
			if shown := h.ForwardedKey(name); shown != "" {
				values = append(slices.Clip(values), made{text: "{" + dataPrefix + shown + "}"})
			}
		}
	case placeholders.Cookie:
		writer = c.unless(func(h SessionHandler) bool { return h.StripsCookie(strings.TrimPrefix(key, "http.request.cookie.")) })
	case placeholders.Certificate:
		writer = placeholders.Trusted
		if c.server != nil && !verifiesClients(c.server) {
			writer = placeholders.Unknown
		}
	case placeholders.Defined:
		switch {
		case defined, c.defined == nil, strings.Contains(key, "session.data."):
			writer = placeholders.Trusted
		case strings.HasPrefix(key, "http.regexp."):
			writer = placeholders.Visitor
		default:
			writer = placeholders.Unknown
		}
	case placeholders.Unknown:
		if defined || c.defined == nil {
			writer = placeholders.Trusted
		}
	}
	f.writer = writer
	for _, value := range values {
		then := *c
		if value.early {
			then.sure = value.sure
		}
		if inner := then.text(value.text, seen); inner.worseThan(f) {
			inner.via = f.via + ", which is made of " + inner.via
			f = inner
		}
	}
	return f
}

// unless returns Visitor unless a handler that runs in any case says so.
func (c *identityCheck) unless(strips func(SessionHandler) bool) placeholders.Writer {
	if slices.ContainsFunc(c.sure, strips) {
		return placeholders.Trusted
	}
	return placeholders.Visitor
}

// verifiesClients reports whether certificates of clients are verified by an
// authority where any are asked for.
func verifiesClients(server *caddyhttp.Server) bool {
	for _, policy := range server.TLSConnPolicies {
		if policy.TLSConfig == nil {
			continue
		}
		switch policy.TLSConfig.ClientAuth {
		case tls.RequestClientCert, tls.RequireAnyClientCert:
			return false
		}
	}
	return true
}

// subjectTexts returns the strings in an object at a path: a key, or keys of
// nested objects joined by dots.
func subjectTexts(object map[string]any, path string) (texts []string) {
	for key, value := range object {
		rest, below := strings.CutPrefix(path, key+".")
		inner, isObject := value.(map[string]any)
		switch {
		case key == path, below && !isObject:
			texts = append(texts, textsIn(value)...)
		case below:
			texts = append(texts, subjectTexts(inner, rest)...)
		}
	}
	slices.Sort(texts) // the message does not depend on the order of a map
	return texts
}

// textsIn returns the strings in a value.
func textsIn(value any) (texts []string) {
	switch v := value.(type) {
	case string:
		texts = append(texts, v)
	case []any:
		for _, element := range v {
			texts = append(texts, textsIn(element)...)
		}
	case map[string]any:
		for _, member := range v {
			texts = append(texts, textsIn(member)...)
		}
	}
	return texts
}
