package caddysession

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/settings"
)

// parseCookies sets up what becomes of the application's own cookies. Syntax:
//
//	cookies {
//		keep    [http_only] <names...>
//		seal    <names...> {
//			bound
//		}
//		sign    <names...> {
//			bound
//			format cookie-parser
//		}
//		drop    <names...>
//		pass    <names...>
//		default pass|keep|drop
//		harden  [secure] [http_only] [same_site=lax|strict] {
//			except <names...>
//		}
//		keys    <secrets...>
//		forward <name> [<header>]
//	}
func (h *Handler) parseCookies(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Err("what becomes of cookies goes into a block: cookies { ... }")
	}
	h.Cookies = new(cookiejar.Rules)
	return cookiesBlock.Parse(h.Cookies, d)
}

var cookiesBlock = settings.NewBlock("cookies { } in session", func(rules *cookiejar.Rules, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"keep":    func() error { return parseKeep(d, rules) },
		"seal":    func() error { return parseWrapped(d, &rules.Seal) },
		"sign":    func() error { return parseWrapped(d, &rules.Sign) },
		"drop":    func() error { return parseNames(d, &rules.Drop) },
		"pass":    func() error { return parseNames(d, &rules.Pass) },
		"default": func() error { return settings.String(d, &rules.Default) },
		"harden":  func() error { return parseHarden(d, &rules.Harden) },
		"keys":    func() error { return parseList(d, settings.Values, &rules.Keys) },
		"forward": func() error {
			args, err := settings.Names(d)
			if err != nil {
				return err
			}
			if len(args) < 1 || len(args) > 2 {
				return d.Err("write: forward NAME, or forward NAME HEADER")
			}
			rules.Forward = append(rules.Forward, cookiejar.ForwardCookie{Name: args[0], Header: strings.Join(args[1:], "")})
			return nil
		},
	}
}, "keep", "seal", "sign", "drop", "pass", "harden", "forward")

// httpOnly is the attribute by which keep goes. A cookie that is called so is
// written in quotes.
const httpOnly = "http_only"

// parseKeep parses names, and the attribute among them.
func parseKeep(d *caddyfile.Dispenser, rules *cookiejar.Rules) error {
	line := *d
	tokens := line.RemainingArgsAsTokens()
	var all []string
	if err := parseList(d, settings.Names, &all); err != nil {
		return err
	}
	for i, name := range all {
		switch {
		case tokens[i].Quoted() || !isAttribute(name):
			rules.Keep = append(rules.Keep, name)
		case name != httpOnly:
			return d.Errf("keep %s: did you mean %s? Write a cookie of that name in quotes", name, httpOnly)
		case rules.KeepHTTPOnly:
			return d.Errf("keep %s is given twice: remove one", httpOnly)
		default:
			rules.KeepHTTPOnly = true
		}
	}
	return nil
}

// isAttribute reports whether who writes a word may mean the attribute HttpOnly.
func isAttribute(word string) bool {
	return strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(word), "httponly")
}

// parseNames parses names where there is no attribute.
func parseNames(d *caddyfile.Dispenser, to *[]string) error {
	setting, line := d.Val(), *d
	for _, token := range line.RemainingArgsAsTokens() {
		if !token.Quoted() && isAttribute(token.Text) {
			return d.Errf("%s %s: only keep and harden go by the attribute; write a cookie of that name in quotes", setting, token.Text)
		}
	}
	return parseList(d, settings.Names, to)
}

func parseList(d *caddyfile.Dispenser, read func(*caddyfile.Dispenser) ([]string, error), to *[]string) error {
	setting := d.Val()
	list, err := read(d)
	if err == nil && len(list) == 0 {
		err = d.Errf("%s needs at least one value", setting)
	}
	*to = append(*to, list...)
	return err
}

func parseWrapped(d *caddyfile.Dispenser, to *[]cookiejar.WrapRule) error {
	var w cookiejar.WrapRule
	if err := parseNames(d, &w.Names); err != nil {
		return err
	}
	err := wrapBlock.Parse(&w, d)
	*to = append(*to, w)
	return err
}

var wrapBlock = settings.NewBlock("the block of seal or sign in cookies { }", func(w *cookiejar.WrapRule, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{
		"bound":  func() error { return settings.Flag(d, &w.Bound) },
		"format": func() error { return settings.String(d, &w.Format) },
	}
})

func parseHarden(d *caddyfile.Dispenser, to *[]cookiejar.Harden) error {
	var words []string
	if err := parseList(d, settings.Names, &words); err != nil {
		return err
	}
	var h cookiejar.Harden
	for _, word := range words {
		sameSite, ok := strings.CutPrefix(word, "same_site=")
		switch {
		case word == "secure" && !h.Secure:
			h.Secure = true
		case word == httpOnly && !h.HTTPOnly:
			h.HTTPOnly = true
		case ok && h.SameSite == "" && sameSite != "":
			h.SameSite = sameSite
		case word == "secure", word == httpOnly, ok && sameSite != "":
			return d.Errf("harden has %s twice", strings.TrimSuffix(word, "="+sameSite))
		default:
			return d.Errf("harden %s: use secure, http_only, same_site=lax or same_site=strict", word)
		}
	}
	err := hardenBlock.Parse(&h, d)
	*to = append(*to, h)
	return err
}

var hardenBlock = settings.NewBlock("the block of harden in cookies { }", func(h *cookiejar.Harden, d *caddyfile.Dispenser) settings.Words {
	return settings.Words{"except": func() error { return parseNames(d, &h.Except) }}
}, "except")
