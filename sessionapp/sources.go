package sessionapp

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// sources has the lines of the Caddyfile that modules come from, by what they
// are in JSON, which has no room for lines. It is filled where a Caddyfile is
// adapted and emptied where the configuration is checked: that is the same
// process for `caddy run` and `caddy validate`. Without it, warnings have no
// lines. Equal modules have the lines of all.
var sources struct {
	sync.Mutex
	lines map[string][]string
}

// mostSources bounds sources where configurations are adapted and never checked.
const mostSources = 1000

// NoteSource notes where a module is in the Caddyfile.
func NoteSource(module caddy.Module, file string, number int) {
	line := fmt.Sprintf("%s:%d", file, number)
	_, key := inJSON(module)
	sources.Lock()
	defer sources.Unlock()
	if sources.lines == nil || len(sources.lines) == mostSources {
		sources.lines = map[string][]string{}
	}
	if !slices.Contains(sources.lines[key], line) {
		sources.lines[key] = append(sources.lines[key], line)
	}
}

// takeSources returns what was noted, and forgets it.
func takeSources() map[string][]string {
	sources.Lock()
	defer sources.Unlock()
	lines := sources.lines
	sources.lines = nil
	return lines
}

// inJSON returns a module as JSON, and a key for it.
func inJSON(module caddy.Module) (text, key string) {
	encoded, err := json.Marshal(module)
	if err != nil {
		return "", ""
	}
	return string(encoded), string(module.CaddyModule().ID) + " " + string(encoded)
}
