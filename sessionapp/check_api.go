package sessionapp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// checkAPI refuses a proxy that would give the capability of the session API to
// somebody else than the application: one that asks with a request of its own, and
// goes on by what is answered, as `forward_auth` does.
func (w *identityWalk) checkAPI(proxy *reverseproxy.Handler, b before) {
	if proxy.Rewrite == nil || proxy.Rewrite.Method == "" || len(proxy.HandleResponse) == 0 {
		return
	}
	for _, h := range b.maybe {
		header := h.APIHeader()
		if header == "" || proxy.Headers != nil && proxy.Headers.Request != nil &&
			slices.ContainsFunc(proxy.Headers.Request.Delete, func(deleted string) bool { return strings.EqualFold(deleted, header) }) {
			continue
		}
		if w.err == nil {
			w.err = fmt.Errorf("the auth server %s would get what lets the application change sessions: "+
				"write header_up -%s into the block of forward_auth", application(proxy), header)
		}
	}
}
