package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
)

// The files in deploy, as far as they can be run without Docker, systemd and
// Kubernetes.

// deployed runs a Caddyfile of deploy with the stand-in for an application behind
// it, and visits it twice.
func deployed(t *testing.T, text, site string) {
	t.Helper()
	_, app, ok := strings.Cut(repoFile(t, "deploy/docker/app.Caddyfile"), "\n}\n")
	if !ok {
		t.Fatal("the application has no global options")
	}
	text = regexp.MustCompile(`\{\$APP:[^}]*\}`).ReplaceAllString(text, "127.0.0.1:8081")
	s := serveFile(t, text+app, site, "127.0.0.1:8081")
	first := s.get("/", "")
	if !strings.HasPrefix(first.body, "Welcome. ") || first.cookie() == "" {
		t.Fatalf("the first visit: %q", first.raw)
	}
	if again := s.get("/", first.cookie()); !strings.HasPrefix(again.body, `Welcome back. Your session: {"seen":"once"}`) {
		t.Errorf("the second visit: %q", again.raw)
	}
}

func TestDeployDocker(t *testing.T) {
	text := repoFile(t, "deploy/docker/Caddyfile")
	t.Run("embedded", func(t *testing.T) {
		t.Setenv("XDG_DATA_HOME", t.TempDir())
		deployed(t, text, "localhost:8080")
	})
	t.Run("redis", func(t *testing.T) {
		t.Setenv("STORE", "redis redis://"+redistest.Start(t).Addr)
		deployed(t, text, "localhost:8080")
	})
}

func TestDeployCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Build struct {
				Context, Dockerfile string
			}
			Volumes   []string
			Networks  []string
			DependsOn map[string]any `yaml:"depends_on"`
		}
		Volumes, Networks map[string]any
	}
	if err := yaml.Unmarshal([]byte(repoFile(t, "deploy/docker/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	for name, service := range file.Services {
		if service.Build.Context != "" {
			repoFile(t, filepath.Join("deploy/docker", service.Build.Context, service.Build.Dockerfile))
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if path, ok := strings.CutPrefix(source, "./"); ok {
				repoFile(t, "deploy/docker/"+path)
			} else if _, ok := file.Volumes[source]; !ok {
				t.Errorf("%s: there is no volume %s", name, source)
			}
		}
		for _, network := range service.Networks {
			if _, ok := file.Networks[network]; !ok {
				t.Errorf("%s: there is no network %s", name, network)
			}
		}
		for other := range service.DependsOn {
			if _, ok := file.Services[other]; !ok {
				t.Errorf("%s: there is no service %s", name, other)
			}
		}
	}
	if len(file.Services) != 3 {
		t.Errorf("%d services", len(file.Services))
	}
}

func TestDeployKubernetes(t *testing.T) {
	text := repoFile(t, "deploy/kubernetes/caddy-session.yaml")
	var file struct{ Data map[string]string }
	if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&file); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORE_URL", "redis://"+redistest.Start(t).Addr)
	deployed(t, file.Data["Caddyfile"], "127.0.0.1:8080")
}

// The unit is that of Debian's package, or as good as.
func TestDeploySystemd(t *testing.T) {
	text := repoFile(t, "deploy/systemd/caddy-session.conf")
	for _, setting := range []string{"ExecStart", "ExecReload"} {
		if !regexp.MustCompile(`(?m)^` + setting + `=\n` + setting + `=/usr/local/bin/caddy-session `).MatchString(text) {
			t.Errorf("%s is not replaced: a drop-in adds to it otherwise", setting)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // it is nobody's dependency
	}
	unit := filepath.Join(t.TempDir(), "caddy.service")
	if err := os.Mkdir(unit+".d", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, unit, "[Service]\nExecStart=/bin/false\nExecReload=/bin/false\n", 0o644)
	writeFile(t, unit+".d/session.conf", strings.ReplaceAll(text, "/usr/local/bin/caddy-session", "/bin/true"), 0o644)
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
