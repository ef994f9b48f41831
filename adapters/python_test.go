package adapters_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// TestPython runs the adapter's own tests, with the vectors, by the Python that
// Debian's packages are for.
func TestPython(t *testing.T) {
	python := need.Program(t, "/usr/bin/python3")
	// go test runs again what has opened a file that has changed.
	for _, file := range []string{"python/caddy_session.py", "python/proxy.py", "vectors.json"} {
		if _, err := os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "-B", "-m", "unittest", "-v")
	cmd.Dir = "python"
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// The manual names the test of each promise.
func TestPythonPromises(t *testing.T) {
	var tests strings.Builder
	for _, pattern := range []string{"python/test_*.py", "../e2e/adapter_python_test.go", "../e2e/api_adapters_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	page, err := os.ReadFile("../docs/adapters/python.md")
	if err != nil {
		t.Fatal(err)
	}
	// Of a table, the last column.
	text := regexp.MustCompile(`(?m)^\|.*\|(.*)\|$`).ReplaceAllString(string(page), "$1")
	names := regexp.MustCompile(`\b(Test[A-Z]\w+|test_\w+)(?:/(\w+))?`).FindAllStringSubmatch(text, -1)
	if len(names) < 40 {
		t.Errorf("the manual names %d tests", len(names))
	}
	for _, name := range names {
		defined := regexp.MustCompile(`(?:class|def|func) ` + name[1] + `\(`)
		if !defined.MatchString(tests.String()) || name[2] != "" && !strings.Contains(tests.String(), `t.Run("`+name[2]+`"`) {
			t.Errorf("there is no test %s", name[0])
		}
	}
}
