package sessionapp

import "runtime/debug"

// Version returns the version of this module that the program was built with, such
// as "v0.1.0". It is "(devel)" where the Go tool could not tell: in a build from a
// checkout without -buildvcs, and in tests.
func Version() string {
	const module, unknown = "github.com/caddy-session/caddy-session", "(devel)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return unknown
}
