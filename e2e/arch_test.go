package e2e

import (
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-session/caddy-session"

// What imports what. Arrows point one way: the handler knows the modules beside
// it, these know the engine and the cookies, the stores know the engine, and
// these two know nothing but how bytes are written. Only what makes a program of it knows the handler.
func TestDependencies(t *testing.T) {
	const (
		caddy = "github.com/caddyserver/"
		redis = "github.com/redis/"
		bbolt = "go.etcd.io/bbolt"
		otter = "github.com/maypok86/otter"
	)
	packages := map[string]struct {
		needs     []string // packages of this module: these and no others
		forbidden []string // what no import begins with
	}{
		"": {[]string{"/session", "/cookiejar", "/sessionapp", "/stores", "/operator", "/api", "/internal/settings", "/internal/response", "/internal/cancel",
			"/internal/caching", "/internal/appcookies", "/internal/logging", "/internal/origin", "/internal/placeholders", "/internal/finding"},
			[]string{redis, bbolt, otter, "testing"}},
		"/sessionapp":            {[]string{"/session", "/session/movestore", "/session/nearcache", "/api", "/internal/settings", "/internal/placeholders", "/internal/logging", "/internal/finding"}, []string{redis, bbolt, otter, "testing"}},
		"/stores":                {[]string{"/session", "/session/memstore", "/session/boltstore", "/session/redisstore", "/session/pgstore", "/sessionapp", "/internal/settings"}, []string{redis, bbolt, otter, "testing"}},
		"/api":                   {[]string{"/session", "/internal/logging"}, []string{redis, bbolt, otter, "testing"}},
		"/operator":              {[]string{"/session", "/cookiejar", "/sessionapp", "/internal/finding"}, []string{redis, bbolt, otter, "testing"}},
		"/internal/settings":     {nil, []string{redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/internal/breaker":      {nil, []string{caddy, redis, bbolt, otter, "testing"}},
		"/internal/framed":       {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/internal/percent":      {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/internal/response":     {nil, []string{redis, bbolt, otter, "testing"}},
		"/internal/cancel":       {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/internal/caching":      {nil, []string{caddy, redis, bbolt, otter, "testing"}},
		"/internal/origin":       {[]string{"/cookiejar"}, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/internal/finding":      {nil, []string{caddy, redis, bbolt, otter, "testing"}},
		"/internal/logging":      {nil, []string{caddy, redis, bbolt, otter, "testing"}},
		"/internal/placeholders": {nil, []string{caddy, redis, bbolt, otter, "testing"}},
		"/internal/appcookies":   {[]string{"/session", "/cookiejar", "/sessionapp", "/internal/caching", "/internal/logging", "/internal/origin"}, []string{caddy, redis, bbolt, otter, "testing"}},
		"/session":               {[]string{"/internal/framed", "/internal/percent", "/internal/logging"}, []string{caddy, redis, bbolt, otter, "testing"}},
		"/cookiejar":             {[]string{"/internal/framed", "/internal/percent"}, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/session/memstore":      {[]string{"/session"}, []string{caddy, redis, bbolt, otter, "testing"}},
		"/session/boltstore":     {[]string{"/session", "/session/nearcache"}, []string{caddy, redis, otter, "testing"}},
		"/session/redisstore":    {[]string{"/session", "/session/nearcache", "/internal/finding"}, []string{caddy, bbolt, otter, "testing"}},
		"/session/pgstore":       {[]string{"/session", "/internal/breaker"}, []string{caddy, redis, bbolt, otter, "testing"}},
		"/session/movestore":     {[]string{"/session"}, []string{caddy, redis, bbolt, otter, "go.uber.org/", "testing"}},
		"/session/nearcache":     {[]string{"/session"}, []string{caddy, redis, bbolt, "testing"}},
		"/session/storetest":     {[]string{"/session"}, []string{caddy, redis, bbolt, otter}},

		// What makes a program of it.
		"/cmd/caddy": {[]string{""}, []string{redis, bbolt, otter, "testing"}},

		// What tests need.
		"/internal/busy":                {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "net"}},
		"/internal/need":                {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "net"}},
		"/internal/selfsigned":          {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/"}},
		"/internal/lifeline":            {nil, []string{caddy, redis, bbolt, otter, "go.uber.org/", "net"}},
		"/session/redisstore/redistest": {[]string{"/internal/lifeline", "/internal/need"}, []string{caddy, bbolt, otter}},
		"/session/pgstore/pgtest":       {[]string{"/session/redisstore/redistest", "/internal/lifeline", "/internal/need"}, []string{caddy, redis, bbolt, otter}},
		"/adapters":                     {},
		"/e2e":                          {},
		"/e2e/history":                  {nil, []string{caddy, redis, bbolt, otter}},
	}
	for _, dir := range packageDirs(t) {
		pkg, err := build.ImportDir(filepath.Join("..", dir), 0)
		if err != nil {
			t.Error(err)
			continue
		}
		rules, ok := packages[dir]
		if !ok {
			t.Errorf("%q has no line here: what may it import?", dir)
		}
		delete(packages, dir)
		missing := map[string]bool{}
		for _, need := range rules.needs {
			missing[module+need] = true
		}
		for _, imported := range pkg.Imports {
			if strings.HasPrefix(imported, module) && !missing[imported] {
				t.Errorf("%q imports %s", dir, imported)
			}
			delete(missing, imported)
			if strings.HasPrefix(imported, "github.com/jackc/") && !strings.HasPrefix(dir, "/session/pgstore") {
				t.Errorf("%q imports %s", dir, imported)
			}
			for _, prefix := range rules.forbidden {
				if strings.HasPrefix(imported, prefix) {
					t.Errorf("%q imports %s", dir, imported)
				}
			}
		}
		for imported := range missing {
			t.Errorf("%q does not import %s: has it moved?", dir, imported)
		}
		if dir != "/e2e" && slices.Contains(slices.Concat(pkg.TestImports, pkg.XTestImports), module) {
			t.Errorf("the tests of %q import the handler", dir)
		}
	}
	for dir := range packages {
		t.Errorf("there is no package %q", dir)
	}
}

// packageDirs returns the directories of this module's packages, "" and those
// that begin with "/".
func packageDirs(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod")) // a module of its own
			if file != ".." && (name == "testdata" || strings.HasPrefix(name, ".") || err == nil) {
				return filepath.SkipDir
			}
			return nil
		}
		if dir := strings.TrimPrefix(path.Dir(filepath.ToSlash(file)), ".."); strings.HasSuffix(name, ".go") && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}
