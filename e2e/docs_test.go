package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-session/caddy-session/session"
)

// The documents tell the truth, as far as that can be looked up: words, links, and
// names of files and tests. What they have to run is in examples_test.go and
// command_test.go.

// TestDocsAreComplete looks for words that the manual must have, each at the
// beginning of a table row.
func TestDocsAreComplete(t *testing.T) {
	text := manual(t)
	for _, c := range []struct {
		file, what, pattern string
		least               int
	}{
		{"caddyfile.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 24},
		{"caddyfile_cookies.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 11},
		{"sessionapp/app.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 1},
		{"stores/embedded.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 1},
		{"stores/redis.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 15},
		{"stores/redis_near.go", "setting", `"([a-z_]+)":\s+func\(\) error`, 1},
		{"session/control.go", "directive", `(?m)^\t+case "([a-z-]+)":$`, 7},
	} {
		words := regexp.MustCompile(c.pattern).FindAllStringSubmatch(repoFile(t, c.file), -1)
		if len(words) < c.least {
			t.Errorf("%s has only %d words that look like a %s: the pattern is out of date", c.file, len(words), c.what)
		}
		for _, word := range words {
			if !regexp.MustCompile("(?m)^\\| `" + word[1] + "[` =]").MatchString(text) {
				t.Errorf("the manual does not describe the %s %s", c.what, word[1])
			}
		}
	}

	// The comment breaks the line of the access control list.
	comment := regexp.MustCompile(`(?s)//\s+(user caddy on .*?\+info .*?)\n//\n`).FindStringSubmatch(repoFile(t, "session/redisstore/redisstore.go"))
	if comment == nil {
		t.Fatal("redisstore.go has no access control list")
	}
	acl := strings.Join(strings.Fields(strings.ReplaceAll(comment[1], "//", "")), " ")
	if !strings.Contains(text, "\n"+acl+"\n") {
		t.Errorf("the manual's access control list is not %s", acl)
	}
}

// Each console block is run: those of the quick start by .ci/run, those for the
// operator by TestDocsOperations, those of examples/ by the test of the folder.
func TestDocsConsoleBlocks(t *testing.T) {
	for _, name := range documents(t) {
		if strings.HasPrefix(name, "examples/") {
			continue
		}
		got := strings.Count(repoFile(t, name), "\n```console\n")
		want := 0
		switch name {
		case "README.md":
			_, section, _ := strings.Cut(repoFile(t, name), "\n## Quick start\n")
			section, _, _ = strings.Cut(section, "\n## ")
			if in := strings.Count(section, "\n```console\n"); in != got {
				t.Errorf("README.md has %d console blocks, %d of them in its quick start", got, in)
			}
			want = len(regexp.MustCompile(`(?m)^transcript \d+$`).FindAllString(repoFile(t, ".ci/run"), -1))
		case "docs/operations.md":
			want = 2
		}
		if got != want {
			t.Errorf("%s has %d console blocks, and %d are run", name, got, want)
		}
	}
}

// Relative links lead to files that are there, and fragments to headings.
func TestDocsLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	for _, name := range documents(t) {
		text := withoutFences(repoFile(t, name))
		headings(t, name) // none twice
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.HasPrefix(target, "https://") {
				continue
			}
			file := path.Join(path.Dir(name), target)
			if target == "" {
				file = name
			}
			info, err := os.Stat(filepath.Join("..", file))
			switch {
			case err != nil:
				t.Errorf("%s: %v", name, err)
			case fragment == "":
			case info.IsDir():
				t.Errorf("%s: %s is a directory", name, m[1])
			case !headings(t, file)[fragment]:
				t.Errorf("%s: no heading for %s", name, m[1])
			}
		}
	}
}

// headings returns the anchors of a document's headings, as GitHub makes them.
func headings(t *testing.T, name string) map[string]bool {
	t.Helper()
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutFences(repoFile(t, name)), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		// CHANGELOG.md has the same headings for each release.
		if anchors[anchor] && name != "CHANGELOG.md" {
			t.Errorf("%s has the heading %q twice", name, m[1])
		}
		anchors[anchor] = true
	}
	return anchors
}

// withoutFences returns a document without its code blocks.
func withoutFences(text string) string {
	return regexp.MustCompile("(?sm)^```.*?^```$").ReplaceAllString(text, "")
}

// Go files, folders and tests that the documents name are there, by their path
// from the root of the repository.
func TestDocsNameWhatIsThere(t *testing.T) {
	file := regexp.MustCompile(`(?:[\w.-]+/)*\w[\w.-]*\.go\b`)
	folder := regexp.MustCompile("`((?:[\\w.-]+/)+)`")
	test := regexp.MustCompile(`\bTest[A-Z]\w*`)
	tests := allTests(t)
	found := 0
	for _, name := range documents(t) {
		text := repoFile(t, name)
		names := file.FindAllString(withoutLinks(text), -1)
		for _, m := range folder.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
		for _, n := range names {
			if _, err := os.Stat(filepath.Join("..", n)); err != nil {
				t.Errorf("%s names a path that is not there: %v", name, err)
			}
		}
		for _, n := range test.FindAllString(text, -1) {
			if strings.HasPrefix(name, "docs/adapters/") {
				break // adapters has tests in other languages, and looks these up itself
			}
			if !slices.ContainsFunc(tests, func(known string) bool { return strings.HasPrefix(known, n) }) {
				t.Errorf("%s names %s, and there is no such test", name, n)
			}
		}
		found += len(names)
	}
	if found < 50 {
		t.Errorf("the documents name only %d files and folders: the patterns are out of date", found)
	}
}

// The table of stores names tests where they are.
func TestDocsTestedStores(t *testing.T) {
	_, section, _ := strings.Cut(repoFile(t, "docs/stores.md"), "\n## What is tested on what\n")
	section, _, _ = strings.Cut(section, "\n## ")
	cells := 0
	for line := range strings.Lines(section) {
		for cell := range strings.SplitSeq(line, "|") {
			for part := range strings.SplitSeq(cell, ";") {
				folder := regexp.MustCompile("in `([\\w/]+/)`").FindStringSubmatch(part)
				for _, m := range regexp.MustCompile("`(Test\\w+)(?:/([^`]+))?`").FindAllStringSubmatch(part, -1) {
					cells++
					in := []string{"session/", "e2e/"}
					if folder != nil {
						in = folder[1:]
					}
					if !hasTest(t, in, m[1], m[2]) {
						t.Errorf("%s is not in %v", m[0], in)
					}
				}
			}
		}
	}
	if cells < 30 {
		t.Errorf("only %d tests are named: the pattern is out of date", cells)
	}
}

// hasTest reports whether one of some folders has a test, and what may be its subtest.
func hasTest(t *testing.T, folders []string, name, sub string) bool {
	t.Helper()
	test, run := false, sub == ""
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join("..", folder, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text := repoFile(t, strings.TrimPrefix(filepath.ToSlash(file), "../"))
			test = test || strings.Contains(text, "\nfunc "+name+"(t *testing.T)")
			run = run || strings.Contains(text, `t.Run("`+sub+`"`)
		}
	}
	return test && run
}

// What the manual says of each requirement of the OWASP ASVS 5.0, V7 and V3.3, is
// one row with a verdict, and what is met is shown by tests that are there.
func TestDocsASVS(t *testing.T) {
	_, table, _ := strings.Cut(repoFile(t, "docs/security.md"), "\n## OWASP ASVS\n")
	rows := regexp.MustCompile(`(?m)^\| V([\d.]+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$`).FindAllStringSubmatch(table, -1)
	var want, got []string
	for _, section := range []struct {
		name         string
		requirements int
	}{{"7.1", 3}, {"7.2", 4}, {"7.3", 2}, {"7.4", 5}, {"7.5", 3}, {"7.6", 2}, {"3.3", 5}} {
		for i := range section.requirements {
			want = append(want, section.name+"."+strconv.Itoa(i+1))
		}
	}
	tests := allTests(t)
	for _, row := range rows {
		got = append(got, row[1])
		named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(row[3], -1)
		switch row[2] {
		case "met", "with the application":
			if named == nil {
				t.Errorf("V%s: no test shows it", row[1])
			}
		case "not ours,":
			if !strings.HasPrefix(row[3], "because ") {
				t.Errorf("V%s: no reason", row[1])
			}
		default:
			t.Errorf("V%s: the verdict %q", row[1], row[2])
		}
		for _, test := range named {
			if !slices.Contains(tests, test[1]) {
				t.Errorf("V%s names %s, and there is no such test", row[1], test[1])
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// The manual's times are those that hold where the configuration says nothing.
func TestDocsHaveTheDefaults(t *testing.T) {
	p := session.DefaultPolicy()
	for name, want := range map[string]time.Duration{
		"idle": p.Idle, "lifetime": p.Lifetime, "remember": p.Remember, "unclaimed": p.Unclaimed, "touch": p.Touch,
	} {
		row := regexp.MustCompile("(?m)^\\| `" + name + " DURATION` \\| `(\\w+)` \\|").FindStringSubmatch(repoFile(t, "docs/caddyfile.md"))
		if row == nil {
			t.Errorf("no row for %s", name)
		} else if got, err := caddy.ParseDuration(row[1]); err != nil || got != want {
			t.Errorf("%s is %s in the manual, and is %v", name, row[1], want)
		}
	}
}

// withoutLinks returns a document without the targets of its links, which
// TestDocsLinks looks at.
func withoutLinks(text string) string {
	return regexp.MustCompile(`\]\([^)]+\)`).ReplaceAllString(text, "]")
}

// allTests returns the names of the tests of the repository.
func allTests(t *testing.T) (names []string) {
	t.Helper()
	function := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, "_test.go") {
			for _, m := range function.FindAllStringSubmatch(repoFile(t, name), -1) {
				names = append(names, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Each rule of the header protocol is told with the files of its tests, which
// are called after it.
func TestDocsNameTheTestsOfRules(t *testing.T) {
	_, section, _ := strings.Cut(repoFile(t, "docs/design.md"), "\n## The ten rules\n")
	section, _, _ = strings.Cut(section, "\n## ")
	rules := map[string]string{}
	for _, item := range regexp.MustCompile(`(?m)^\d+\. `).FindAllStringIndex(section, -1) {
		number, text, _ := strings.Cut(section[item[0]:], ". ")
		text, _, _ = strings.Cut(text, "\n"+strconv.Itoa(len(rules)+2)+". ")
		rules[number] = text
	}
	if len(rules) != 10 {
		t.Fatalf("docs/design.md has %d rules, want 10", len(rules))
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^func TestRule(\d+)`).FindAllStringSubmatch(repoFile(t, "e2e/"+file), -1) {
			found++
			if !strings.Contains(rules[m[1]], "`e2e/"+file+"`") {
				t.Errorf("rule %s in docs/design.md does not name e2e/%s", m[1], file)
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d tests are called after rules", found)
	}
}

// documents returns the names of all documents: README.md, the pages in docs, those
// of the examples, and those for people who work on the repository.
func documents(t testing.TB) []string {
	t.Helper()
	pages, err := filepath.Glob("../docs/*.md")
	adapters, err2 := filepath.Glob("../docs/adapters/*.md")
	examples, err3 := filepath.Glob("../examples/*/README.md")
	if err := errors.Join(err, err2, err3); err != nil || len(pages) < 8 || len(adapters) < 1 || len(examples) < 1 {
		t.Fatalf("docs has only %d pages, and %d on adapters, and there are %d examples: %v", len(pages), len(adapters), len(examples), err)
	}
	names := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/README.md", "examples/README.md"}
	for _, page := range slices.Concat(pages, adapters, examples) {
		names = append(names, filepath.ToSlash(strings.TrimPrefix(page, "../")))
	}
	return names
}

// manual returns the text for users: README.md and the pages in docs, but for the
// one on the design.
func manual(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	for _, name := range documents(t) {
		if name == "README.md" || strings.HasPrefix(name, "docs/") && name != "docs/design.md" {
			text.WriteString(repoFile(t, name))
		}
	}
	return text.String()
}

// snippets returns the contents of the code blocks in a language of all documents.
func snippets(t *testing.T, language string) (blocks []string) {
	t.Helper()
	pattern := regexp.MustCompile("(?sm)^```" + language + "\n(.*?\n)```$")
	for _, name := range documents(t) {
		for _, m := range pattern.FindAllStringSubmatch(repoFile(t, name), -1) {
			blocks = append(blocks, m[1])
		}
	}
	if blocks == nil {
		t.Fatalf("the documents have no block in %s", language)
	}
	return blocks
}

func repoFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
