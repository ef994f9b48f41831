package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// The demo, for a stranger and for somebody who is signed in, in both themes.
func TestDemoIsReadable(t *testing.T) {
	_, port, _ := net.SplitHostPort(freeAddr(t))
	s := serveFile(t, strings.ReplaceAll(repoFile(t, "Caddyfile.example"), ":8081", ":"+port), "localhost:8080")
	b := browse(t)
	b.open("http://" + s.addr)
	look := func(page string) {
		t.Helper()
		b.readable(page, "h1, h2, p, dt, dd, button, a")
		b.screenshot(t, page)
	}
	look("stranger")
	b.click("[formaction='/theme/dark']")
	look("stranger in the dark")
	b.click("[formaction='/login/alice']")
	look("alice in the dark")
	b.click("[formaction='/theme/light']")
	look("alice")
}

// prefers has the browser say that its user prefers light or dark pages.
func (b *browser) prefers(scheme string) {
	b.t.Helper()
	b.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// readable tells what is wrong with the page for those who read it on a telephone or
// on a desk: what is wider than the window, and text of the elements that is too
// faint (WCAG 2.1, 1.4.3); and for those who hear it: controls without a name.
func (b *browser) readable(page, elements string) {
	b.t.Helper()
	for _, width := range []int{360, 1280} {
		b.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
		if got := b.script(fmt.Sprintf(unreadable, elements)); got != "ok" {
			b.t.Errorf("%s at %d pixels: %s", page, width, got)
		}
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
			case "button", "link", "textbox", "searchbox", "checkbox", "combobox", "radio", "switch", "slider", "spinbutton", "listbox", "option", "tab", "menuitem":
				if controls++; !node.Ignored && (node.Name.Value == nil || node.Name.Value == "") {
					b.t.Errorf("%s at %d pixels: a %s without a name", page, width, node.Role.Value)
				}
			}
		}
		if controls == 0 {
			b.t.Errorf("%s: the browser names no controls", page)
		}
	}
}

const unreadable = `(() => {
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
	const elements = [...document.querySelectorAll(%q)].filter((e) => e.textContent.trim())
	const wrong = elements.length ? [] : ['there is nothing to read']
	if (document.documentElement.scrollWidth > innerWidth) wrong.push('it is ' + document.documentElement.scrollWidth + ' wide')
	for (const e of elements) {
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))]
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
		if (contrast < 4.5) wrong.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30) + ': contrast ' + contrast.toFixed(1))
	}
	return wrong.slice(0, 5).join('\n') || 'ok'
})()`
