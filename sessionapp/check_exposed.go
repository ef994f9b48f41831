package sessionapp

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/finding"
)

// checkCookie finds a session cookie that browsers send without encryption. Behind
// a proxy that speaks HTTPS, only trusted_proxies or `secure on` can tell.
func (w *identityWalk) checkCookie(h SessionHandler, here *place) {
	hosts := here.hosts()
	if len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool { return !isLocal(host) }) {
		return
	}
	where := append(w.where(here), at(h)...)
	switch {
	case !h.SecureCookie(true):
		w.find(finding.Finding{
			Problem: "the session cookie is not Secure: browsers send it without encryption, too, where others can read it",
			Remedy:  "remove secure off from the cookie block, unless this site is for a network of your own",
			Where:   where})
	case !h.SecureCookie(false) && !trustsProxies(w.server) && w.speaksPlainHTTP():
		w.find(finding.Finding{
			Problem: "the site speaks HTTP without encryption, so the session cookie is not Secure",
			Remedy: "have Caddy speak HTTPS; or, if a proxy in front of it does, name that in trusted_proxies in the servers option, " +
				"or write secure on into the cookie block",
			Where: where})
	}
}

// trustsProxies reports whether a server believes any proxy. Caddy forgets the
// setting once it has made of it what it keeps to itself. If that is gone, nothing
// is said.
func trustsProxies(server *caddyhttp.Server) bool {
	kept := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return !kept.IsValid() || kept.Kind() != reflect.Interface || !kept.IsNil()
}

// speaksPlainHTTP reports whether the server does without TLS on an address that
// other machines reach. It decides as Caddy does when it starts.
func (w *identityWalk) speaksPlainHTTP() bool {
	httpPort := uint(caddyhttp.DefaultHTTPPort)
	if w.app.HTTPPort != 0 {
		httpPort = uint(w.app.HTTPPort)
	}
	return slices.ContainsFunc(w.server.Listen, func(listen string) bool {
		address, err := caddy.ParseNetworkAddress(listen)
		return err == nil && !address.IsUnixNetwork() && !isLocal(address.Host) && !address.IsFdNetwork() &&
			(len(w.server.TLSConnPolicies) == 0 || address.StartPort == httpPort)
	})
}

// checkApplication finds an application with sessions that others than Caddy may
// reach: to it, they could be anybody. Names are not resolved.
func (w *identityWalk) checkApplication(proxy *reverseproxy.Handler, here *place, b before) {
	if len(b.maybe) == 0 {
		return
	}
	for _, upstream := range proxy.Upstreams {
		address, err := caddy.ParseNetworkAddress(upstream.Dial)
		if err != nil {
			continue
		}
		if ip, err := netip.ParseAddr(address.Host); err == nil && isPublic(ip.Unmap()) {
			w.find(finding.Finding{
				Problem: "the application is at a public address: whoever reaches it there can send it headers such as X-Session-User",
				Remedy:  "have it listen on a private address, or have a firewall admit Caddy only",
				Where:   append(w.where(here), zap.String("application", upstream.Dial))})
		}
	}
}

// sharedAddresses are those of RFC 6598, which networks use among themselves.
var sharedAddresses = netip.MustParsePrefix("100.64.0.0/10")

func isPublic(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !sharedAddresses.Contains(ip)
}

// isLocal reports whether a host is this machine only.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}

// checkOwnHeaders finds request headers of ours that the site sets behind session,
// in place of what the session says.
func (w *identityWalk) checkOwnHeaders(ops *headers.HeaderOps, here *place, b before) {
	if ops == nil {
		return
	}
	var told []string
	for _, set := range []map[string][]string{ops.Set, ops.Add} {
		for name, values := range set {
			// What an auth server has said, and what the session says, are meant.
			said := strings.Join(values, "")
			if strings.Contains(said, "{http.reverse_proxy.header.") || strings.Contains(said, "session.") ||
				!slices.ContainsFunc(b.maybe, func(h SessionHandler) bool { return h.StripsHeader(name) }) {
				continue
			}
			told = append(told, name)
		}
	}
	slices.Sort(told)
	for _, name := range slices.Compact(told) {
		w.find(finding.Finding{
			Problem: "the site sets a request header that belongs to the session: the application takes it for what the session says",
			Remedy:  "give the header another name, or have session_set put the value into the session",
			Where:   append(w.where(here), zap.String("header", name))})
	}
}

// where tells which site a place is in.
func (w *identityWalk) where(here *place) []zap.Field {
	site := strings.Join(here.hosts(), " ")
	if site == "" {
		site = strings.Join(w.server.Listen, " ")
	}
	return []zap.Field{zap.String("server", w.name), zap.String("site", site)}
}

// hosts returns the hosts that requests are for at a place, none for any.
func (p *place) hosts() []string {
	for ; p != nil; p = p.up {
		if p.at >= 0 {
			if hosts := hostsOf(p.routes[p.at]); len(hosts) > 0 {
				return hosts
			}
		}
	}
	return nil
}

func at(module caddy.Module) []zap.Field {
	if at := sourceOf(module); at != "" {
		return []zap.Field{zap.String("at", at)}
	}
	return nil
}
