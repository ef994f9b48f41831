package e2e

import (
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
)

// webApp is an application as its users run it, unchanged. Nothing in it knows
// of sessions in front of it.
type webApp struct {
	name  string // as in the table of docs/cookies.md
	lines string // what that recommends for its cookies, after keep *
	// start starts it with data of its own and a user, called alice here, and
	// returns what a site needs to serve it.
	start  func(t *testing.T) (site string)
	form   string // the path of the page where alice signs in, by submit
	submit func(b *browser) bool
	// remember selects what a user ticks in it to stay signed in when the browser
	// is closed. "" if there is nothing.
	remember string
	// signedIn opens a page that says whether alice is signed in.
	signedIn func(b *browser, origin string) bool
	// steps are what she does then, ending with "sign-out". Each reports whether it
	// could be done.
	steps []step
}

type step struct {
	name string
	do   func(b *browser, origin string) bool
}

// password is what users have where they can be given one.
const password = "correct-horse-battery"

// webApps returns those that TestApplications runs: the slow ones if the
// environment has APPS=1, as ./xcaddy.sh test -apps sets it.
func webApps() []webApp {
	apps := []webApp{mediaWiki, djangoAdmin, adminer}
	if os.Getenv("APPS") == "1" {
		apps = append(apps, wordPress, phpMyAdmin, redmine, jupyter, qBittorrent)
	}
	return apps
}

// webAppPolicies are the columns of the table in docs/cookies.md, and what
// makes them.
func webAppPolicies(a webApp) [][2]string {
	cookies := func(lines string) string {
		return "session {\ncookies {\n" + lines + "\nkeys " + strings.ToLower(rand.Text()+rand.Text()) + "\n}\n}\n"
	}
	return [][2]string{
		{"bare", ""},
		{"plain", "session\n"},
		{"`keep *`", keepAll("")},
		{"its lines", "session {\ncookies {\nkeep *\n" + a.lines + "\nharden secure same_site=lax\n}\n}\n"},
		{"`keep http_only`", "session {\ncookies {\nkeep http_only\n}\n}\n"},
		{"`seal *`", cookies("seal *")},
		{"`sign *`", cookies("sign *")},
	}
}

// webAppServer has an application behind each policy, an origin for each.
type webAppServer struct {
	*operated
	origins []string // as webAppPolicies
	trust   string   // the flag that has Chromium trust them
}

func serveWebApp(t *testing.T, a webApp) *webAppServer {
	t.Helper()
	site := a.start(t)
	s := &webAppServer{operated: serveOperated(t, storeOption("memory"), "respond OK")}
	cert, key, _ := selfsigned.Localhost(t)
	var sites strings.Builder
	for _, policy := range webAppPolicies(a) {
		_, port, _ := net.SplitHostPort(freeAddr(t))
		s.origins = append(s.origins, "https://localhost:"+port)
		fmt.Fprintf(&sites, "https://localhost:%s {\ntls %s %s\n%s%s\n}\n", port, cert, key, policy[1], site)
	}
	if err := s.try("admin "+s.admin+"\n"+storeOption("memory"), sites.String()); err != nil {
		t.Fatal(err)
	}
	s.trust = trusting(t, cert, key)
	return s
}

// TestApplications uses each application behind each policy. What works must be
// what the table in docs/cookies.md says.
func TestApplications(t *testing.T) {
	for _, a := range webApps() {
		t.Run(a.name, func(t *testing.T) {
			documented := documentedOutcomes(t, a)
			s := serveWebApp(t, a)
			b := browse(t, s.trust)
			expect := func(column, outcome string) {
				t.Helper()
				t.Logf("%s: %s", column, outcome)
				if outcome != documented[column] {
					t.Errorf("%s: %s, but docs/cookies.md says %s", column, outcome, documented[column])
					b.screenshot(t, strings.Trim(column, "` *"))
				}
			}
			for i, policy := range webAppPolicies(a) {
				b.anew()
				expect(policy[0], a.use(b, s.origins[i]))
			}
			b.anew()
			expect("ended", a.ended(t, b, s))
			a.assets(t, b, s)
			a.remembers(t, s)
		})
	}
}

// signIn signs alice in and reports whether she is.
func (a webApp) signIn(b *browser, origin string) bool {
	b.open(origin + a.form)
	return a.submit(b) && a.signedIn(b, origin)
}

// use does all steps and returns "works", or "no STEP, STEP": what could not be
// done.
func (a webApp) use(b *browser, origin string) string {
	var failed []string
	if !a.signIn(b, origin) {
		return "no sign-in"
	}
	for _, step := range a.steps {
		if !step.do(b, origin) {
			failed = append(failed, step.name)
		}
	}
	if failed == nil {
		return "works"
	}
	return "no " + strings.Join(failed, ", ")
}

// ended has an operator end alice's session here, which must end the one in the
// application, and has her sign in again.
func (a webApp) ended(t *testing.T, b *browser, s *webAppServer) string {
	t.Helper()
	origin := s.origins[2] // keep *
	if !a.signIn(b, origin) {
		return "no sign-in"
	}
	if _, stderr, status := s.command("end", "--all"); status != 0 {
		t.Fatalf("caddy session end: %s", stderr)
	}
	if a.signedIn(b, origin) {
		return "no"
	}
	if !a.signIn(b, origin) {
		return "no sign-in after it"
	}
	return "works"
}

// assets opens a page in new tabs. The browser must fetch as many of its parts as
// without us. What is old enough is fetched again whoever asks, so both are seen anew,
// side by side, when they differ.
func (a webApp) assets(t *testing.T, b *browser, s *webAppServer) {
	t.Helper()
	policies := webAppPolicies(a)
	fetched := func(i int) (tabs [2]int) {
		t.Helper()
		b.anew()
		b.open(s.origins[i] + a.form)
		first := len(b.fetched())
		if first == 0 {
			t.Fatalf("%s: a browser with an empty cache fetches nothing", policies[i][0])
		}
		if !a.submit(b) || !a.signedIn(b, s.origins[i]) {
			t.Fatalf("%s: no sign-in", policies[i][0])
		}
		for tab := range tabs {
			b.tab()
			a.signedIn(b, s.origins[i])
			tabs[tab] = len(b.fetched())
		}
		t.Logf("%s: assets that are fetched for the first page: %d, and in new tabs: %d", policies[i][0], first, tabs)
		return tabs
	}
	bare := fetched(0)
	for i := 1; i < 3; i++ {
		ours := fetched(i)
		for range 2 {
			if ours == bare {
				break
			}
			bare, ours = fetched(0), fetched(i)
		}
		if ours != bare {
			t.Errorf("%s: assets that are fetched in new tabs: %d, without us %d, last %s", policies[i][0], ours, bare, b.fetched())
		}
	}
}

// remembers closes the browser and opens it again: who is signed in then must be
// the same with the application's lines as without us.
func (a webApp) remembers(t *testing.T, s *webAppServer) {
	t.Helper()
	if a.remember == "" {
		return
	}
	for _, i := range []int{0, 3} { // bare, its lines
		profile := t.TempDir()
		b := browseIn(t, profile, s.trust)
		for _, ticked := range []bool{false, true} {
			b.open(s.origins[i] + a.form)
			b.script(fmt.Sprintf("document.querySelector(%q).checked = %t", a.remember, ticked))
			if !a.submit(b) || !a.signedIn(b, s.origins[i]) {
				t.Fatalf("%s: no sign-in", webAppPolicies(a)[i][0])
			}
			b.quit()
			b = browseIn(t, profile, s.trust)
			if got := a.signedIn(b, s.origins[i]); got != ticked {
				t.Errorf("%s: ticked: %t, signed in after a restart of the browser: %t", webAppPolicies(a)[i][0], ticked, got)
			}
		}
	}
}

// documentedOutcomes returns an application's row in docs/cookies.md, by policy.
func documentedOutcomes(t *testing.T, a webApp) map[string]string {
	t.Helper()
	var head []string
	for line := range strings.SplitSeq(repoFile(t, "docs/cookies.md"), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch cells[0] {
		case "application":
			head = cells
		case a.name:
			row := map[string]string{}
			for i, name := range head {
				row[name] = cells[i]
			}
			lines := ""
			if a.lines != "" {
				lines = " `" + a.lines + "`"
			}
			if want := strings.TrimSpace("`keep *`" + lines); row["lines"] != want {
				t.Errorf("docs/cookies.md recommends %s, the test %s", row["lines"], want)
			}
			return row
		}
	}
	t.Fatalf("docs/cookies.md has no row for %s", a.name)
	return nil
}

// mirror makes a directory of links to what is in another one, but what is named.
func mirror(t *testing.T, from, to string, except ...string) {
	t.Helper()
	files, err := filepath.Glob(from + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); !slices.Contains(except, name) {
			if err := os.Symlink(file, filepath.Join(to, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// inFolder is a program that runs in a folder, with more in its environment than ours.
func inFolder(dir string, environment []string, path string, arguments ...string) *exec.Cmd {
	cmd := exec.Command(path, arguments...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), environment...)
	return cmd
}

// ran runs a program to its end.
func ran(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
