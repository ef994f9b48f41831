package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Where xcaddy is installed but can't get what it asks for, xcaddy.sh builds
// without it.
func TestBuildWithoutXcaddy(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/xcaddy.sh", repoFile(t, "xcaddy.sh"), 0o700)
	writeFile(t, dir+"/go.mod", repoFile(t, "go.mod"), 0o600)
	writeFile(t, bin+"/xcaddy", "#!/bin/sh\necho 'proxy: 403 Forbidden' >&2\nexit 1\n", 0o700)
	// A Go that makes whatever it is told to.
	writeFile(t, bin+"/go", `#!/bin/sh
case $1 in
env) echo go99.0 ;;
build) while [ "$1" != -o ]; do shift; done && echo built >"$2" ;;
esac
`, 0o700)
	cmd := exec.Command(dir+"/xcaddy.sh", "build")
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "403") || !strings.Contains(string(out), "xcaddy failed") {
		t.Errorf("%v\n%s", err, out)
	}
	if text, err := os.ReadFile(dir + "/caddy"); string(text) != "built\n" {
		t.Errorf("%q, %v", text, err)
	}
}
