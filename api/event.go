package api

import "github.com/caddy-session/caddy-session/session"

// Events of the API. An operation is counted for each request with an open
// capability, and an outcome for each request.
const (
	EventRead     session.Event = "api_get"
	EventPatch    session.Event = "api_patch"
	EventPut      session.Event = "api_put"
	EventDelete   session.Event = "api_delete"
	EventRenew    session.Event = "api_renew"
	EventClear    session.Event = "api_clear"
	EventTouch    session.Event = "api_touch"
	EventMaxAge   session.Event = "api_max_age"
	EventSessions session.Event = "api_sessions" // listed or ended
	EventLock     session.Event = "api_lock"     // or given back

	EventOK           session.Event = "api_ok"
	EventNone         session.Event = "api_none"         // there is no such session
	EventConflict     session.Event = "api_conflict"     // too late for a cookie, another version, or the session is gone
	EventLocked       session.Event = "api_locked"       // by another request
	EventRefused      session.Event = "api_refused"      // what is asked for is wrong or too large
	EventForbidden    session.Event = "api_forbidden"    // by a browser, or for another host
	EventUnauthorized session.Event = "api_unauthorized" // no open capability
	EventFailed       session.Event = "api_failed"       // the store could not do it

	// Of each request that waits for a lock, by the API or because the site says so.
	EventLockTaken  session.Event = "lock_taken"
	EventLockBusy   session.Event = "lock_busy"   // somebody else had it for too long, or the client has gone
	EventLockGone   session.Event = "lock_gone"   // the session has ended or was renewed meanwhile
	EventLockFailed session.Event = "lock_failed" // the store could not tell
)
