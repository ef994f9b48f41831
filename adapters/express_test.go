package adapters_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestExpress runs the adapter's own tests, with the vectors.
func TestExpress(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("not installed: node")
		}
		t.Skip("not installed: node")
	}
	files, err := filepath.Glob("express/*.test.js")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	output, err := exec.Command(node, append([]string{"--test"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
