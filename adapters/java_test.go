package adapters_test

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

// javaCannot are the vectors that an application in Java can't ask for, since
// setAttribute(name, null) removes the attribute.
var javaCannot = []string{"null at the top", "null takes the place of a value", "cleared, and null"}

// TestJava compiles the adapter for both names of the servlet API, and runs its
// tests and the vectors with each.
func TestJava(t *testing.T) {
	need.Program(t, "javac")
	// go test runs again what has opened a file that has changed.
	for _, name := range []string{"CaddySessionFilter.java", "FilterTest.java", "build.sh"} {
		if _, err := os.ReadFile(filepath.Join("java", name)); err != nil {
			t.Fatal(err)
		}
	}
	for variant, api := range map[string]string{
		"jakarta": "/usr/share/java/tomcat10-servlet-api.jar",
		"javax":   "/usr/share/java/tomcat9-servlet-api.jar",
	} {
		t.Run(variant, func(t *testing.T) {
			need.File(t, api, api)
			classes := t.TempDir()
			if output, err := exec.Command("java/build.sh", variant, api, classes, "java/FilterTest.java").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			path := api + string(filepath.ListSeparator) + classes
			output, err := exec.Command("java", "-cp", path, "caddysession.FilterTest").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, output)
			}
			t.Logf("%s", output)
			javaVectors(t, path)
		})
	}
}

func javaVectors(t *testing.T, classPath string) {
	text, err := os.ReadFile("vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Control string
		Before, After json.RawMessage
		Set, Put      any
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	var in strings.Builder
	for _, v := range vectors {
		for _, data := range []json.RawMessage{v.Before, v.After} {
			compact, err := json.Marshal(data)
			if err != nil {
				t.Fatal(err)
			}
			in.Write(compact)
			in.WriteByte('\t')
		}
		in.WriteString(cmp.Or(v.Control, "keep"))
		var before, after map[string]any
		if json.Unmarshal(v.Before, &before) != nil || json.Unmarshal(v.After, &after) != nil {
			t.Fatal(v.Name)
		}
		for key := range before {
			if _, ok := after[key]; !ok {
				in.WriteString("\t" + key)
			}
		}
		in.WriteByte('\n')
	}
	cmd := exec.Command("java", "-cp", classPath, "caddysession.FilterTest", "vectors")
	cmd.Stdin = strings.NewReader(in.String())
	var errors strings.Builder
	cmd.Stderr = &errors
	output, err := cmd.Output()
	lines := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	if err != nil || len(lines) != len(vectors) {
		t.Fatalf("%d lines for %d vectors, %v\n%s", len(lines), len(vectors), err, errors.String())
	}
	var cannot []string
	for i, v := range vectors {
		fields := strings.Split(lines[i], "\t")
		if len(fields) != 3 {
			t.Fatalf("%s: %q", v.Name, lines[i])
		}
		if strings.ContainsFunc(lines[i], func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }) {
			t.Errorf("%s: not ASCII: %q", v.Name, lines[i])
		}
		var sent [2]any
		for j, field := range fields[:2] {
			if field == "" {
				continue
			}
			if err := json.Unmarshal([]byte(field), &sent[j]); err != nil {
				t.Errorf("%s: %q: %v", v.Name, field, err)
			}
		}
		if reflect.DeepEqual(sent, [2]any{v.Set, v.Put}) && fields[2] == v.Control {
			continue
		}
		cannot = append(cannot, v.Name)
		if !slices.Contains(javaCannot, v.Name) {
			t.Errorf("%s: sends %q", v.Name, fields)
		}
	}
	if !slices.Equal(cannot, javaCannot) {
		t.Errorf("it can't do %q, not %q", cannot, javaCannot)
	}
}

// The manual names the test of each promise.
func TestJavaPromises(t *testing.T) {
	var tests strings.Builder
	for _, name := range []string{"java/FilterTest.java", "../e2e/adapter_java_test.go", "../e2e/api_java_test.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(text)
	}
	page, err := os.ReadFile("../docs/adapters/java.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\b(test[A-Z]\w+|Test(?:AdapterJava|APIJava)(?:/\w+)?)\b`).FindAllString(string(page), -1)
	if len(names) < 30 {
		t.Errorf("the manual names %d tests", len(names))
	}
	for _, name := range names {
		_, part, _ := strings.Cut(name, "/")
		if !strings.Contains(tests.String(), " "+name+"(") && !strings.Contains(tests.String(), `t.Run("`+part+`"`) {
			t.Errorf("there is no test %s", name)
		}
	}
}
