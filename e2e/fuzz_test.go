package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// FuzzCaddyfile reads any text as the body of the directive and of the global
// option. What is accepted must not surprise Caddy afterwards.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		input, _, _ := strings.Cut(string(text), divider)
		f.Add(inner(input, "\n\tsession {\n"), inner(input, "\n\tsession @dynamic {\n"))
		f.Add(inner(input, "\n\tsession {\n"), inner(input, "\n\tsession {\n"))
	}
	f.Fuzz(func(t *testing.T, global, site string) {
		// Other directives and imports are not what this is about.
		for _, text := range []string{global, site} {
			if !balanced(text) || strings.Contains(text, "import") || strings.ContainsAny(text, "<`\"") {
				return
			}
		}
		config, err := adapt("{\n\tsession {\n" + global + "\n\t}\n}\n:8080 {\n\tsession {\n" + site + "\n\t}\n}\n")
		if err == nil {
			provision(t, config)
		}
	})
}

// provision makes the session app and handler of a configuration, without the
// rest of Caddy, for speed. A file may be missing, but nothing may panic.
func provision(t *testing.T, config []byte) {
	var c struct {
		Apps struct {
			Session json.RawMessage
			HTTP    struct {
				Servers map[string]struct {
					Routes []struct{ Handle []map[string]any }
				}
			}
		}
	}
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	fields := c.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0]
	delete(fields, "handler") // which says what it is
	handler, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{AppsRaw: caddy.ModuleMap{"session": c.Apps.Session}})
	if err != nil {
		return
	}
	if app, err := ctx.App("session"); err == nil {
		defer app.(caddy.CleanerUpper).Cleanup()
	}
	if _, err := ctx.LoadModuleByID("http.handlers.session", handler); err != nil {
		t.Errorf("what was adapted is refused: %v\n%s", err, handler)
	}
}

// inner returns the block that begins after head.
func inner(text, head string) string {
	_, after, _ := strings.Cut(text, head)
	body, _, _ := strings.Cut(after, "\n\t}")
	return body
}

// balanced reports whether text closes what it opens and nothing else.
func balanced(text string) bool {
	depth := 0
	for _, c := range text {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth < 0 {
			return false
		}
	}
	return depth == 0
}
