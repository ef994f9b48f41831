package caddysession

import (
	"errors"
	"net/http"
	"reflect"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/parser"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-session/caddy-session/internal/settings"
	"github.com/caddy-session/caddy-session/sessionapp"
)

func init() {
	caddy.RegisterModule(MatchSession{})
}

// MatchSession matches requests by their session, as it was when the request
// began. It is a map of data keys to values: the session must have all of the
// keys, each with one of its values, or with any value if none are listed. An
// empty map matches every session. Without a session, and where no `session`
// handler runs before it, it matches nothing.
//
// A key may be a path into objects, with dots: `prefs.lang`. An array has the
// values of its elements. The key of the subject is there if somebody is signed
// in. Values may have placeholders; one that comes out empty is no value.
//
// In CEL: `session()`, `session('user')`, `session('role', 'admin', 'editor')`.
type MatchSession map[string][]string

// CaddyModule returns the Caddy module information.
func (MatchSession) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.session",
		New: func() caddy.Module { return new(MatchSession) },
	}
}

// UnmarshalCaddyfile sets up the matcher from Caddyfile tokens. Several lines
// of one matcher must all hold; those with the same key add up to one list of
// values. Syntax:
//
//	session [<key> [<values...>]]
func (m *MatchSession) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if *m == nil {
		*m = MatchSession{}
	}
	line := 0
	for d.Next() {
		if line == 0 {
			line = d.Line()
		}
		args, err := settings.Names(d)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			if args[0] == "" {
				return d.Err("the key is empty: write session, or session KEY [VALUE...]")
			}
			(*m)[args[0]] = append((*m)[args[0]], args[1:]...)
		}
		if d.NextBlock(0) {
			return d.Err("the matcher session has no block: write session KEY [VALUE...]")
		}
	}
	sessionapp.NoteSource(m, d.File(), line)
	return nil
}

// Provision has the app tell at its start where a matcher can never match.
func (m MatchSession) Provision(ctx caddy.Context) error { return needApp(ctx) }

// Validate checks the keys.
func (m MatchSession) Validate() error {
	if _, ok := m[""]; ok {
		return errors.New("the session matcher has an empty key")
	}
	return nil
}

// Match is MatchWithError, which nobody should prefer it to.
func (m MatchSession) Match(r *http.Request) bool {
	matches, err := m.MatchWithError(r)
	return err == nil && matches
}

// MatchWithError reports whether the request's session has what the matcher wants. It
// fails where that takes data that can't be read from the store now.
func (m MatchSession) MatchWithError(r *http.Request) (bool, error) {
	v, ok := caddyhttp.GetVar(r.Context(), visitVar).(*visit)
	if !ok || v.session == nil {
		return false, nil
	}
	for key, values := range m {
		if has, err := v.has(r, key, values); !has || err != nil {
			return false, err
		}
	}
	return true, nil
}

// has reports whether the session has a key with one of the values, if any.
func (v *visit) has(r *http.Request, key string, values []string) (bool, error) {
	some := len(values) > 0
	values = expand(r, values)
	switch {
	case some && len(values) == 0:
		return false, nil
	case key == v.loaded.h.manager.Policy().SubjectKey:
		// An empty subject is none, whatever type it has in the data.
		subject := v.session.Subject()
		if len(values) == 0 {
			return subject != "", nil
		}
		for _, value := range values {
			if subject != "" && value == subject {
				return true, nil
			}
		}
		return false, nil
	}
	s, err := v.whole()
	if err != nil {
		return false, err
	}
	return s.Has(key, values...), nil
}

// expand replaces the placeholders in values, and drops those that come to
// nothing by that.
func expand(r *http.Request, values []string) []string {
	for i, value := range values {
		if !strings.Contains(value, "{") {
			continue
		}
		repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		expanded := append([]string(nil), values[:i]...)
		for _, value := range values[i:] {
			if text := repl.ReplaceAll(value, ""); text != "" || value == "" {
				expanded = append(expanded, text)
			}
		}
		return expanded
	}
	return values
}

// CELLibrary makes session(...) known in expressions.
func (MatchSession) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	const function = "session_request_list"
	factory := func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
		list, err := data.ConvertToNative(reflect.TypeFor[[]string]())
		if err != nil {
			return nil, err
		}
		m := MatchSession{}
		if args := list.([]string); len(args) > 0 {
			m[args[0]] = args[1:]
		}
		return m, m.Validate()
	}
	library, err := caddyhttp.CELMatcherImpl("session", function, []*cel.Type{cel.ListType(cel.StringType)}, factory)
	if err != nil {
		return nil, err
	}
	// That makes a macro for one argument and more.
	anySession := parser.NewGlobalMacro("session", 0, func(eh cel.MacroExprFactory, _ ast.Expr, _ []ast.Expr) (ast.Expr, *common.Error) {
		return eh.NewCall(function, eh.NewIdent(caddyhttp.CELRequestVarName), eh.NewList()), nil
	})
	return caddyhttp.NewMatcherCELLibrary(append(library.CompileOptions(), cel.Macros(anySession)), library.ProgramOptions()), nil
}

// Interface guards.
var (
	_ caddy.Provisioner                 = MatchSession(nil)
	_ caddy.Validator                   = MatchSession(nil)
	_ caddyfile.Unmarshaler             = (*MatchSession)(nil)
	_ caddyhttp.RequestMatcherWithError = MatchSession(nil)
	_ caddyhttp.CELLibraryProducer      = MatchSession(nil)
)
