package e2e

import (
	"go/build"
	"path"
	"strings"
	"testing"
)

const module = "github.com/caddy-session/caddy-session"

// What imports what. Arrows point one way: the module for Caddy knows the
// engine and the cookies, the stores know the engine, and these two know
// nothing but how bytes are written.
func TestDependencies(t *testing.T) {
	const (
		caddy = "github.com/caddyserver/"
		redis = "github.com/redis/"
		bbolt = "go.etcd.io/bbolt"
		otter = "github.com/maypok86/otter"
	)
	for _, test := range []struct {
		dir       string
		needs     []string // packages of this module: these and no others
		forbidden []string // what no import begins with
	}{
		{"", []string{"/session", "/session/memstore", "/session/boltstore", "/session/redisstore", "/session/nearcache", "/cookiejar"}, []string{redis, bbolt, "testing"}},
		{"/session", []string{"/internal/framed", "/internal/percent"}, []string{caddy, redis, bbolt, otter, "testing"}},
		{"/cookiejar", []string{"/internal/framed", "/internal/percent"}, []string{caddy, redis, bbolt, "go.uber.org/", "testing"}},
		{"/session/memstore", []string{"/session"}, []string{caddy, redis, bbolt, "testing"}},
		{"/session/boltstore", []string{"/session", "/session/nearcache"}, []string{caddy, redis, otter, "testing"}},
		{"/session/redisstore", []string{"/session", "/session/nearcache"}, []string{caddy, bbolt, otter, "testing"}},
		{"/session/nearcache", []string{"/session"}, []string{caddy, redis, bbolt, "testing"}},
		{"/session/storetest", []string{"/session"}, []string{caddy, redis, bbolt}},
	} {
		pkg, err := build.ImportDir(path.Join("..", test.dir), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		missing := map[string]bool{}
		for _, need := range test.needs {
			missing[module+need] = true
		}
		for _, imported := range pkg.Imports {
			if strings.HasPrefix(imported, module) && !missing[imported] {
				t.Errorf("%q imports %s", test.dir, imported)
			}
			delete(missing, imported)
			for _, prefix := range test.forbidden {
				if strings.HasPrefix(imported, prefix) {
					t.Errorf("%q imports %s", test.dir, imported)
				}
			}
		}
		for imported := range missing {
			t.Errorf("%q does not import %s: has it moved?", test.dir, imported)
		}
	}
}
