package adapters_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestPHP runs the tests of the PHP adapter.
func TestPHP(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out what needs php")
	}
	for _, name := range []string{"php", "php-cgi"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("not installed: %s", name)
			}
			t.Skipf("not installed: %s", name)
		}
	}
	// Tests are run again when a file has changed that they have looked at.
	for _, name := range []string{"php/session.php", "php/test.php", "vectors.json"} {
		if _, err := os.Stat(name); err != nil {
			t.Fatal(err)
		}
	}
	output, err := exec.Command("php", "php/test.php").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}
