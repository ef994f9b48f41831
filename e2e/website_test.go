package e2e

import (
	"fmt"
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
)

// The documentation as a website: it builds, no link in it is broken, and its pages
// can be read on a telephone and on a desk, in light and in dark, without scripts, and
// by those who hear them.
func TestWebsite(t *testing.T) {
	program(t, "mkdocs")
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
		b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
		for _, width := range []int{360, 1280} {
			b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
			for _, page := range []string{"", "docs/headers/", "docs/cookies/", "docs/adapters/express/"} {
				b.open(server.URL + "/" + page)
				if got := b.script(websiteReadable); got != "" {
					t.Errorf("/%s in %s at %d pixels: %s", page, scheme, width, got)
				}
				b.nameless(t, fmt.Sprintf("/%s at %d pixels", page, width))
			}
		}
	}
	b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	b.open(server.URL + "/docs/cookies/")
	if !b.shows("The session cookie") {
		t.Error("nothing can be read without scripts")
	}
}

// websiteReadable says which text is too faint (WCAG 2.1, 1.4.3) and what is wider
// than the window.
const websiteReadable = `(() => {
	const light = (color) => {
		const [r, g, b] = color.match(/[\d.]+/g).slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		return 0.2126 * r + 0.7152 * g + 0.0722 * b
	}
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const color = getComputedStyle(e).backgroundColor
			if (!/, 0\)$/.test(color)) return color
		}
		return 'rgb(255, 255, 255)'
	}
	const wrong = []
	if (document.documentElement.scrollWidth > innerWidth) wrong.push('it is ' + document.documentElement.scrollWidth + ' wide')
	for (const e of document.querySelectorAll('.md-content :is(h2, p, li, td, code, a[href]:not(.headerlink))')) {
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))]
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
		if (contrast < 4.5 && e.textContent.trim()) wrong.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30) + ': contrast ' + contrast.toFixed(1))
	}
	return wrong.slice(0, 5).join('\n')
})()`

// nameless says which controls of the page have no name for those who hear it.
func (b *browser) nameless(t *testing.T, page string) {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	b.do("Accessibility.getFullAXTree", nil, &tree)
	controls := 0
	for _, node := range tree.Nodes {
		switch node.Role.Value {
		case "button", "link", "textbox", "searchbox", "checkbox", "combobox":
			if controls++; !node.Ignored && (node.Name.Value == nil || node.Name.Value == "") {
				t.Errorf("%s: a %s without a name", page, node.Role.Value)
			}
		}
	}
	if controls == 0 {
		t.Errorf("%s: the browser names no controls", page)
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
