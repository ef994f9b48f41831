package e2e

import (
	"net"
	"os"
	"testing"

	"github.com/caddy-session/caddy-session/internal/need"
)

var qBittorrent = webApp{
	name:     "qBittorrent",
	start:    startQBittorrent,
	form:     "/",
	submit:   func(b *browser) bool { return b.submit("#login", "#username", "admin", "#password", "adminadmin") },
	signedIn: qBittorrentSignedIn,
	steps: []step{
		{"scripts", func(b *browser, origin string) bool {
			return b.script(`fetch('/api/v2/torrents/createCategory', {method: 'POST', body: new URLSearchParams({category: location.port})}).then(r => r.ok)`) == "true"
		}},
		{"sign-out", func(b *browser, origin string) bool {
			return b.submit("#logoutLink") && !qBittorrentSignedIn(b, origin)
		}},
	},
}

func qBittorrentSignedIn(b *browser, origin string) bool {
	b.open(origin + "/")
	return b.has("#logoutLink")
}

func startQBittorrent(t *testing.T) string {
	t.Helper()
	path := need.Program(t, "qbittorrent-nox")
	dir, addr := t.TempDir(), freeAddr(t)
	if err := os.MkdirAll(dir+"/qBittorrent/config", 0o700); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	writeFile(t, dir+"/qBittorrent/config/qBittorrent.conf", "[LegalNotice]\nAccepted=true\n\n[Preferences]\nWebUI\\Address=127.0.0.1\n", 0o600)
	startServer(t, addr, inFolder(dir, nil, path, "--profile="+dir, "--webui-port="+port))
	return "reverse_proxy " + addr + " {\nheader_up Host {upstream_hostport}\n}" // the port is checked
}
