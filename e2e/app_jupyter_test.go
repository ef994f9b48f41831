package e2e

import (
	"net"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var jupyter = webApp{
	name:     "Jupyter",
	lines:    "pass _xsrf",
	start:    startJupyter,
	form:     "/login",
	submit:   func(b *browser) bool { return b.submit("#login_submit", "#password_input", password) },
	signedIn: jupyterSignedIn,
	steps: []step{
		{"scripts", func(b *browser, origin string) bool {
			b.open(origin + "/tree")
			return b.script(`new Promise(done => require(['base/js/utils'], utils => utils.promising_ajax('/api/contents', {type: 'POST',
				data: JSON.stringify({type: 'file'}), contentType: 'application/json'}).then(() => done(true), e => done(String(e)))))`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool {
			b.open(origin + "/tree")
			return b.submit("#logout") && !jupyterSignedIn(b, origin)
		}},
	},
}

func jupyterSignedIn(b *browser, origin string) bool {
	b.open(origin + "/tree")
	return b.has("#new-buttons")
}

func startJupyter(t *testing.T) string {
	t.Helper()
	path := need.Program(t, "jupyter-notebook")
	dir, addr := t.TempDir(), freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	startServer(t, addr, inFolder(dir, []string{"HOME=" + dir, "PATH=/usr/bin:/bin"}, path, "--allow-root", "--no-browser", "--ip=127.0.0.1", "--port="+port,
		"--port-retries=0", "--NotebookApp.token="+password, "--notebook-dir="+dir))
	return "reverse_proxy " + addr
}
