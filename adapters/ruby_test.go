package adapters_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// TestRuby runs the adapter's own tests, with the vectors: each framework in a
// process of its own.
func TestRuby(t *testing.T) {
	ruby := need.Program(t, "ruby")
	if exec.Command(ruby, "-e", "require 'minitest'; require 'sinatra/base'; require 'rack-flash'; require 'warden'; require 'action_controller/railtie'").Run() != nil {
		need.Missing(t, "ruby-minitest, ruby-sinatra, ruby-rack-flash3, ruby-warden, ruby-railties")
	}
	// go test runs again what has opened a file that has changed.
	for _, file := range []string{"ruby/lib/rack/session/caddy.rb", "ruby/test/helper.rb", "vectors.json"} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"rack", "api", "sinatra", "rails"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.ReadFile("ruby/test/" + name + "_test.rb"); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(ruby, "-w", "-Ilib", "test/"+name+"_test.rb")
			cmd.Dir = "ruby"
			output, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			if i := strings.Index(string(output), "adapters/ruby/lib/rack/session/caddy.rb:"); err == nil && i >= 0 {
				t.Errorf("a warning: %s", output)
			}
		})
	}
	t.Run("gemspec", func(t *testing.T) {
		cmd := exec.Command(ruby, "-e", "gem = Gem::Specification.load('rack-session-caddy.gemspec'); gem.validate; puts gem.full_name, gem.files")
		cmd.Dir = "ruby"
		output, err := cmd.Output()
		if want := "rack-session-caddy-0.1.0\nlib/rack/session/caddy.rb\n"; err != nil || string(output) != want {
			t.Errorf("%v: %q, want %q", err, output, want)
		}
	})
}

// The manual names the test of each promise.
func TestRubyPromises(t *testing.T) {
	page, err := os.ReadFile("../docs/adapters/ruby.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b(?:(Rack|API|Sinatra|Rails)Test#(test_\w+)|(TestAdapterRuby)/([\w-]+))`).FindAllStringSubmatch(string(page), -1)
	if len(names) < 40 {
		t.Errorf("the manual names %d tests", len(names))
	}
	for _, name := range names {
		file, definition := "ruby/test/"+strings.ToLower(name[1])+"_test.rb", "  def "+name[2]+"\n"
		if name[3] != "" {
			file, definition = "../e2e/adapter_ruby_test.go", `t.Run("`+name[4]+`"`
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), definition) {
			t.Errorf("there is no test %s", name[0])
		}
	}
}
