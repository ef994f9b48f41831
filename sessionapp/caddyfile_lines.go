package sessionapp

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
)

// sources has the lines of the Caddyfile that modules come from, by what they
// are in JSON, which has no room for lines. It is filled where a Caddyfile is
// adapted and emptied once the configuration is checked, or has failed: that is
// the same process for `caddy run` and `caddy validate`. Without it, errors and
// warnings have no lines. Equal modules have the lines of all.
var sources struct {
	sync.Mutex
	lines map[string][]string
}

// mostSources bounds sources where configurations are adapted and never checked.
const mostSources = 1000

// NoteSource notes where a module is in the Caddyfile.
func NoteSource(module caddy.Module, file string, number int) {
	line := fmt.Sprintf("%s:%d", file, number)
	key := sourceKey(module)
	sources.Lock()
	defer sources.Unlock()
	if sources.lines == nil || len(sources.lines) == mostSources {
		sources.lines = map[string][]string{}
	}
	if !slices.Contains(sources.lines[key], line) {
		sources.lines[key] = append(sources.lines[key], line)
	}
}

// sourceOf tells where a module is in the Caddyfile, "" if that is not known.
func sourceOf(module caddy.Module) string {
	sources.Lock()
	defer sources.Unlock()
	return strings.Join(sources.lines[sourceKey(module)], " or ")
}

// forgetSources forgets what was noted.
func forgetSources() {
	sources.Lock()
	defer sources.Unlock()
	sources.lines = nil
}

func sourceKey(module caddy.Module) string {
	return string(module.CaddyModule().ID) + " " + inJSON(module)
}

// inJSON returns a module as JSON, "" if it has no such form.
func inJSON(module caddy.Module) string {
	encoded, err := json.Marshal(module)
	if err != nil {
		return ""
	}
	return string(encoded)
}
