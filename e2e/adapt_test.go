package e2e

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

var update = flag.Bool("update", false, "write what comes out into testdata/adapt")

const divider = "\n----------\n"

// Each file is a Caddyfile, a line of hyphens, and what becomes of it: JSON or
// an error.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	t.Setenv("COOKIE_KEY", cookieKey)
	t.Setenv("OLD_COOKIE_KEY", cookieKey)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(text), divider)
			if !ok {
				t.Fatal("no divider")
			}
			input += "\n"
			if formatted := string(caddyfile.Format([]byte(input))); formatted != input {
				t.Errorf("not as caddy fmt writes it:\n%s", formatted)
			}
			got := outcome(t, input)
			if *update {
				if err := os.WriteFile(file, []byte(strings.TrimSuffix(input, "\n")+divider+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got+"\n" != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if bad := strings.HasPrefix(filepath.Base(file), "bad_"); bad == strings.HasPrefix(got, "{") {
				t.Errorf("an error: %v", !bad)
			} else if bad && !strings.Contains(got, ", at Caddyfile:") && !strings.HasPrefix(got, "Caddyfile:") {
				t.Errorf("the error does not say where: %s", got)
			}
		})
	}
}

// outcome returns the JSON of a Caddyfile, or the error. The JSON has to be
// good for Caddy, but for files that are named and not there.
func outcome(t *testing.T, input string) string {
	t.Helper()
	config, err := adapt(input)
	if err != nil {
		return err.Error()
	}
	if err := validate(config); err != nil && !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Caddy refuses it: %v", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String()
}

// validate does what the command `caddy validate` does.
func validate(config []byte) error {
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		return err
	}
	c.Admin = &caddy.AdminConfig{Disabled: true}
	return caddy.Validate(&c)
}
