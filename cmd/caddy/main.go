// Command caddy is Caddy with all of its standard modules and with sessions.
//
//	go run ./cmd/caddy run --config Caddyfile.example
//
// It can't replace itself: `caddy upgrade` and `caddy add-package` are for builds
// that have this module as a dependency, such as those of xcaddy.
package main

import (
	_ "time/tzdata" // zones where the system has none

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-session/caddy-session"
)

func main() { caddycmd.Main() }
