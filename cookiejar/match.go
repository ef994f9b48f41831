package cookiejar

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// domainMatch is RFC 6265bis 5.1.3 for a canonical host.
func domainMatch(host, domain string) bool {
	sub, ok := strings.CutSuffix(host, domain)
	return ok && (sub == "" || strings.HasSuffix(sub, ".") && !isAddress(host))
}

// isAddress reports whether a canonical host is an IP address: one in brackets,
// or a name that ends in a number, which is nothing else to browsers.
func isAddress(host string) bool {
	return strings.HasPrefix(host, "[") || isDigits(host[strings.LastIndexByte(host, '.')+1:])
}

// pathMatch is RFC 6265bis 5.1.4.
func pathMatch(request, cookie string) bool {
	rest, ok := strings.CutPrefix(request, cookie)
	return ok && (rest == "" || strings.HasSuffix(cookie, "/") || rest[0] == '/')
}

// defaultPath is RFC 6265bis 5.1.4, for a cookie without Path.
func defaultPath(request string) string {
	if !strings.HasPrefix(request, "/") {
		return "/"
	}
	return request[:max(strings.LastIndexByte(request, '/'), 1)]
}

// cookieDomain returns to which domain a cookie belongs that came from host
// with this Domain attribute, or "" if it belongs to host alone. It returns
// false for a cookie that user agents refuse (RFC 6265bis 5.7).
func cookieDomain(host, attribute string) (domain string, ok bool) {
	if attribute == "" {
		return "", true
	}
	if !isASCII(attribute) {
		return "", false
	}
	if isPublicSuffix(attribute) {
		return "", attribute == host
	}
	return attribute, domainMatch(host, attribute)
}

// isPublicSuffix reports whether anybody can have a host under domain.
func isPublicSuffix(domain string) bool {
	if isAddress(domain) {
		return false
	}
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix == domain
}

// SameSiteHosts reports whether two canonical hosts have the same registrable
// domain (HTML, "same site", without the schemes).
func SameSiteHosts(a, b string) bool {
	if a == b {
		return true
	}
	if isAddress(a) || isAddress(b) {
		return false
	}
	site, err := publicsuffix.EffectiveTLDPlusOne(a)
	if err != nil {
		return false
	}
	other, err := publicsuffix.EffectiveTLDPlusOne(b)
	return err == nil && site == other
}
