package e2e

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// withAPISite returns a site that has the session API, of one that has not, and room for
// sessions that headers can't hold.
func withAPISite(site string) string {
	return strings.Replace(site, "session {\n", "session {\n\tapi\n\tmax_data 2MiB\n", 1)
}

// apiSocket is the global option for a store in memory and an API on a Unix socket.
func apiSocket(t *testing.T) string {
	return withAPI("unix/" + filepath.Join(t.TempDir(), "api.sock"))
}

// mebibyte is the length of data that no header holds.
const mebibyte = "1048576"

// What the adapter for Express does with the API.
func TestAPIExpress(t *testing.T) {
	site, log := expressApp(t)
	s := serve(t, apiSocket(t), withAPISite(site))
	for _, express := range []string{"/5", "/4"} {
		t.Run("express"+express[1:], func(t *testing.T) {
			v := enter(t, s)
			v.says(express+"/large?size="+mebibyte, "undefined")
			v.says(express+"/length", mebibyte)
			v.says(express+"/late", "x")
			v.says(express+"/large?size=1", "undefined")
			if kept := v.who(express + "/who").Kept; kept["late"] != true || kept["large"] != "x" {
				t.Errorf("kept: %v", kept)
			}
			v.post(express+"/login", "username", "alice", "password", "secret")
			if who := v.who(express + "/who"); who.User != "alice" {
				t.Errorf("signed in: %+v", who)
			}
			count := 0
			for _, transports := range []string{"websocket", "polling", "polling,websocket"} {
				count += 2
				cmd := exec.Command(program(t, "node"), "testdata/express/socket.js", v.origin, express+"/socket.io", v.cookies(), transports, "count")
				output, err := cmd.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				lines := bufio.NewScanner(output)
				var got []string
				for len(got) < 2 && lines.Scan() {
					got = append(got, lines.Text())
				}
				cmd.Process.Kill()
				cmd.Wait()
				if kept := v.who(express + "/who").Kept["count"]; kept != float64(count) || !strings.HasSuffix(got[0], `"undefined"]`) {
					t.Errorf("%s: %v, kept %v, want %d", transports, got, kept, count)
				}
			}
		})
	}
	if strings.Contains(log.String(), "caddy-session-express:") {
		t.Errorf("the application's log: %s", log)
	}
}
