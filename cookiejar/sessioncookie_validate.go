package cookiejar

import (
	"fmt"
	"net/http"
	"strings"
)

// maxPath is the longest attribute value that user agents do not ignore
// (RFC 6265bis 5.6).
const maxPath = 1024

// Validate returns an error if the configuration has an unknown word or a
// malformed part, or if its parts contradict each other so that user agents
// would refuse the cookie. The message says which setting to change, by the
// names that the settings have in JSON.
func (c Cookie) Validate() error {
	switch c.SameSite {
	case "", "lax", "strict", "none":
	default:
		return fmt.Errorf("unknown same_site %q: use lax, strict or none", c.SameSite)
	}
	switch c.Secure {
	case "", "auto", "on", "off":
	default:
		return fmt.Errorf("unknown secure %q: use auto, on or off", c.Secure)
	}
	switch c.Priority {
	case "", "low", "medium", "high":
	default:
		return fmt.Errorf("unknown priority %q: use low, medium or high", c.Priority)
	}
	if err := c.validateName(); err != nil {
		return err
	}
	if err := c.validateDomain(); err != nil {
		return err
	}
	if err := c.validatePath(); err != nil {
		return err
	}
	if reason := c.needsSecure(); reason != "" && c.Secure == "off" {
		return fmt.Errorf("secure off contradicts %s: browsers would refuse the cookie; use secure on or auto", reason)
	}
	return nil
}

// maxCookieName is far more than anybody needs, and little of the 4096 bytes that
// browsers allow a cookie.
const maxCookieName = 256

func (c Cookie) validateName() error {
	if c.autoName() {
		return nil
	}
	if err := (&http.Cookie{Name: c.Name}).Valid(); err != nil {
		return fmt.Errorf("name %q is not a token: use letters, digits, - and _", c.Name)
	}
	if len(c.Name) > maxCookieName {
		return fmt.Errorf("name has %d bytes, more than %d: use a shorter one", len(c.Name), maxCookieName)
	}
	if !hasPrefixFold(c.Name, "__Host-") {
		return nil
	}
	if c.Domain != "" {
		return fmt.Errorf("name %q cannot have a domain: remove the domain, or use the prefix __Secure-", c.Name)
	}
	if c.path() != "/" {
		return fmt.Errorf("name %q cannot have a path other than /: remove the path, or use the prefix __Secure-", c.Name)
	}
	return nil
}

func (c Cookie) validateDomain() error {
	if c.Domain == "" {
		return nil
	}
	if strings.ContainsAny(c.Domain, ":[]") {
		return fmt.Errorf("domain %q has a port or is an IP address: use a bare host name, or remove the domain", c.Domain)
	}
	domain := c.domain()
	if domain == "" {
		return fmt.Errorf("domain %q is not a host name: use one such as example.com", c.Domain)
	}
	// A host that ends in a number is an IPv4 address to browsers, or nothing
	// (URL Standard, "ends in a number checker").
	if isDigits(domain[strings.LastIndexByte(domain, '.')+1:]) {
		return fmt.Errorf("domain %q is an IP address or ends in a number: remove the domain, the cookie then belongs to the host", c.Domain)
	}
	// net/http leaves a Domain out that it does not like, an underscore in it
	// for one, and would silently tie the cookie to one host.
	if err := (&http.Cookie{Name: autoPlain, Domain: domain}).Valid(); err != nil {
		return fmt.Errorf("domain %q cannot be a cookie's: use letters, digits, dots and inner hyphens", c.Domain)
	}
	return nil
}

func (c Cookie) validatePath() error {
	path := c.path()
	if path[0] != '/' {
		return fmt.Errorf("path %q does not begin with /: use %q", path, "/"+path)
	}
	if len(path) > maxPath {
		return fmt.Errorf("path is %d bytes long: browsers ignore one over %d", len(path), maxPath)
	}
	for i := range len(path) {
		// Spaces too: browsers compare with the URL's path, where a space is %20.
		if c := path[i]; c <= ' ' || c >= 0x7f || c == ';' {
			return fmt.Errorf("path %q has the byte %q: percent-encode it as the URL does, or use a shorter path", path, c)
		}
	}
	return nil
}
