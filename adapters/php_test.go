package adapters_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// TestPHP runs the tests of the PHP adapter.
func TestPHP(t *testing.T) {
	php := need.Program(t, "php")
	need.Program(t, "php-cgi")
	// Tests are run again when a file has changed that they have looked at.
	for _, name := range []string{"php/session.php", "php/test.php", "vectors.json"} {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
	}
	output, err := exec.Command(php, "php/test.php").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}
