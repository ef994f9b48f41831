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

// TestExpress runs the adapter's own tests, with the vectors.
func TestExpress(t *testing.T) {
	node := need.Program(t, "node")
	expressFiles(t, "express/*.js", "vectors.json")
	files, _ := expressFiles(t, "express/*.test.js")
	output, err := exec.Command(node, append([]string{"--test"}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// The manual names the test of each promise, and no other.
func TestExpressPromises(t *testing.T) {
	_, tests := expressFiles(t, "express/adapter.test.js", "express/api.test.js")
	names := regexp.MustCompile(`(?m)^test\('([^']+)'`).FindAllStringSubmatch(tests, -1)
	_, page := expressFiles(t, "../docs/adapters/express.md")
	page = strings.Join(strings.Fields(page), " ")
	known := map[string]bool{}
	for _, name := range names {
		known[name[1]] = true
		if !strings.Contains(page, name[1]) {
			t.Errorf("the manual does not name the test %q", name[1])
		}
	}
	// Of the tables with a column of tests, that column.
	_, page = expressFiles(t, "../docs/adapters/express.md")
	rows := regexp.MustCompile(`(?m)^\|.*\|.*\| (.+) \|$`).FindAllStringSubmatch(page, -1)
	if len(rows) < 30 || len(known) < 25 {
		t.Errorf("the manual has only %d rows with tests, and there are %d tests", len(rows), len(known))
	}
	for _, row := range rows {
		for name := range strings.SplitSeq(row[1], "; ") {
			if name != "test" && !known[name] {
				t.Errorf("there is no test %q", name)
			}
		}
	}
}

// expressFiles returns the names and the text of files. go test runs again what
// has opened a file that has changed.
func expressFiles(t *testing.T, patterns ...string) (names []string, text string) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text += string(content)
		}
		names = append(names, files...)
	}
	return names, text
}
