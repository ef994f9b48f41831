package adapters_test

import (
	"os"
	"os/exec"
	"testing"
)

// TestPython runs the adapter's own tests, with the vectors, by the Python that
// Debian's packages are for.
func TestPython(t *testing.T) {
	if testing.Short() {
		t.Skip("-short leaves out what needs Python")
	}
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("not installed: python3")
		}
		t.Skip("not installed: python3")
	}
	cmd := exec.Command(python, "-B", "-m", "unittest", "-v")
	cmd.Dir = "python"
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
