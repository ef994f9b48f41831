// Package session is the engine of server-side sessions for applications that
// have none: tokens, records, patches, the header protocol, and the manager
// that loads and commits sessions. It knows neither Caddy nor Redis nor
// cookies.
//
// Reading order: token.go (what the browser holds), session.go (what a request
// sees), policy.go (how long it lives), json.go and patch.go (what a response
// may change), headers.go, names.go, encode.go and control.go (how applications
// see and say it), record.go, fields.go, head.go and seal.go (what is stored),
// store.go (where), manager.go and near.go (loading), commit.go, change.go and subject.go
// (committing).
package session
