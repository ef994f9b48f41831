// Package session is the engine of server-side sessions for applications that
// have none: tokens, records, patches, the header protocol, and the manager
// that loads and commits sessions. It knows neither Caddy nor Redis nor
// cookies.
//
// A [Manager] loads the [Session] of a request ([Manager.Load]). It shows it to
// the application ([Manager.Inject]) by a [Protocol], which takes from the response
// what is to be changed ([Protocol.Take]), a [Patch]. The manager commits that
// ([Manager.Commit]). Sessions are kept in a [Store]. An [Operator] sees them and
// ends them.
//
// Reading order: token.go (what the browser holds), session.go and path.go (what
// a request sees), policy.go (how long it lives), json.go and patch.go (what a
// response may change), headers.go, headernames.go, headervalue.go and control.go (how
// applications see and say it), record.go, record_fields.go, client.go, label.go, record_head.go,
// seal.go and json_compact.go (what is stored), store.go and store_optional.go (where), verdict.go (what a
// token is worth against it), manager.go and near.go (loading), commit.go,
// change.go, fits.go, subject.go, stripes.go and group.go (committing), certain.go (writes whose
// answer got lost), ender.go, event.go and observer.go (ending and telling),
// operator.go (the operator's side), own.go (the user's),
// lock.go (one request at a time).
package session
