package e2e

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/caddy-session/caddy-session/internal/need"
)

// The documentation as a website: it builds, no link in it is broken, and its pages
// can be read on a telephone and on a desk, in light and in dark, without scripts, and
// by those who hear them.
func TestWebsite(t *testing.T) {
	need.Program(t, "mkdocs")
	if out, err := exec.Command("../website/build.sh").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	site := os.DirFS("../website/site")
	pages := websitePages(t, site)
	websiteLinks(t, site, pages)

	server := httptest.NewServer(http.FileServerFS(site))
	t.Cleanup(server.Close)
	b := browse(t)
	for _, scheme := range []string{"light", "dark"} {
		b.prefers(scheme)
		for _, page := range []string{"", "docs/headers/", "docs/cookies/", "docs/install/", "docs/adapters/express/"} {
			b.open(server.URL + "/" + page)
			b.readable("/"+page+" in "+scheme, ".md-content :is(h2, p, li, td, code, a[href]:not(.headerlink))")
		}
	}
	b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(server.URL + "/docs/cookies/")
	if !b.shows("The session cookie") {
		t.Error("nothing can be read without scripts")
	}
}

// websitePages reads all pages.
func websitePages(t *testing.T, site fs.FS) map[string]*html.Node {
	t.Helper()
	pages := map[string]*html.Node{}
	err := fs.WalkDir(site, ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil || path.Base(name) != "index.html" { // 404.html is for every path, and has none of its own
			return err
		}
		f, err := site.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		pages[name], err = html.Parse(f)
		return err
	})
	if err != nil || len(pages) < 20 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	return pages
}

// websiteLinks looks at each link and each source: relative ones lead to files and
// elements that are there, and those into the repository to files in it.
func websiteLinks(t *testing.T, site fs.FS, pages map[string]*html.Node) {
	t.Helper()
	ids := map[string]bool{}
	for name, page := range pages {
		for node := range page.Descendants() {
			for _, a := range node.Attr {
				if a.Key == "id" || a.Key == "name" {
					ids[name+"#"+a.Val] = true
				}
			}
		}
	}
	for name, page := range pages {
		for node := range page.Descendants() {
			for _, a := range node.Attr {
				if a.Key != "href" && a.Key != "src" {
					continue
				}
				if file, ours := strings.CutPrefix(a.Val, "https://github.com/caddy-session/caddy-session/blob/main/"); ours {
					file, _, _ = strings.Cut(file, "#")
					if _, err := os.Stat(filepath.Join("..", file)); err != nil {
						t.Errorf("%s links to what the repository does not have: %v", name, err)
					}
					continue
				}
				u, err := url.Parse(a.Val)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if u.Scheme != "" || u.Host != "" {
					if a.Key == "src" || node.Data == "link" && !strings.Contains(attribute(node, "rel"), "canonical") {
						t.Errorf("%s loads %s from elsewhere", name, a.Val)
					}
					continue
				}
				target := path.Join(path.Dir(name), u.Path)
				if u.Path == "" {
					target = name
				}
				if info, err := fs.Stat(site, target); err == nil && info.IsDir() {
					target = path.Join(target, "index.html")
				}
				if _, err := fs.Stat(site, target); err != nil {
					t.Errorf("%s: %s is broken: %v", name, a.Val, err)
				} else if u.Fragment != "" && pages[target] != nil && !ids[target+"#"+u.Fragment] {
					t.Errorf("%s: %s leads to no heading", name, a.Val)
				}
			}
		}
	}
}

func attribute(node *html.Node, key string) string {
	for _, a := range node.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}
