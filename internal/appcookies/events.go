package appcookies

import "github.com/caddy-session/caddy-session/session"

// Events of the application's own cookies.
const (
	eventInvalid  session.Event = "cookie_invalid"  // a sealed or signed one that does not verify
	eventIgnored  session.Event = "cookie_ignored"  // one of the application that was refused
	eventEvicted  session.Event = "cookie_evicted"  // a kept one that had to go for others
	eventReissued session.Event = "cookie_reissued" // sent again under a new key
)

// Events are all of them, so that a counter can start each at zero.
var Events = []session.Event{eventInvalid, eventIgnored, eventEvicted, eventReissued}
