// Package need ends tests that need what the machine does not have. They are skipped;
// but where the variable CI is set they fail, with -short as well: there nothing may go
// untested in silence. No other code needs it.
package need

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Program returns the path of the first of some programs that is installed.
func Program(t testing.TB, names ...string) string {
	t.Helper()
	Long(t, names[0])
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Missing(t, strings.Join(names, ", "))
	return ""
}

// File returns the path of a file or a directory that a package brings.
func File(t testing.TB, path, pkg string) string {
	t.Helper()
	Long(t, pkg)
	if _, err := os.Stat(path); err != nil {
		Missing(t, pkg)
	}
	return path
}

// Long leaves the test out with -short.
func Long(t testing.TB, what string) {
	t.Helper()
	if testing.Short() {
		end(t, "-short leaves out what needs "+what)
	}
}

// Missing ends the test, because something is not installed.
func Missing(t testing.TB, what string) {
	t.Helper()
	end(t, "not installed: "+what)
}

func end(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}
