package session

// Event names something worth counting. Events carry no ids and no names.
type Event string

// Events of loading.
const (
	EventNone       Event = "none"        // the request has no session cookie
	EventLive       Event = "live"        // the request has a session
	EventMalformed  Event = "malformed"   // a cookie that is no token
	EventExpired    Event = "expired"     // a token of no stored session
	EventStale      Event = "stale"       // a secret before a renewal or replacement that was just now
	EventForged     Event = "forged"      // a right id with a wrong secret
	EventElsewhere  Event = "elsewhere"   // a token of another realm, or of a path or host that browsers send here, too
	EventAmbiguous  Event = "ambiguous"   // several live sessions at once
	EventCorrupt    Event = "corrupt"     // a stored value that can't be read
	EventStoreError Event = "store_error" // the store could not tell
	EventTouched    Event = "touched"     // the TTL was extended
	EventTouchError Event = "touch_error" // it could not be, or too many at once
)

// Events of committing.
const (
	EventCreated   Event = "created"
	EventPatched   Event = "patched"
	EventRenewed   Event = "renewed"
	EventReplaced  Event = "replaced" // a new id
	EventDestroyed Event = "destroyed"
	EventRevoked   Event = "revoked"  // ended by revoke-others
	EventEvicted   Event = "evicted"  // ended because the subject had too many
	EventEnded     Event = "ended"    // ended by the operator
	EventConflict  Event = "conflict" // another node was faster; tried again
	EventDropped   Event = "dropped"  // the session ended or was renewed meanwhile, or none may begin
	EventRefused   Event = "refused"  // malformed, too large, or if-version
	EventCached    Event = "cached"   // control headers out of a cache
	EventFailed    Event = "failed"   // the store failed at commit
)
