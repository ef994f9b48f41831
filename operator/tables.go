package operator

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/medama-io/go-useragent"

	"github.com/caddy-session/caddy-session/session"
)

// print writes JSON on a line.
func (c *client) print(v any) error { return writeJSON(c.out, v) }

// writeJSON writes JSON on a line, in ASCII: much of it was chosen by visitors, and
// may be shown by a terminal.
func writeJSON(w io.Writer, v any) error {
	text, err := session.EncodeJSON(v)
	if err == nil {
		_, err = w.Write(append(text, '\n'))
	}
	return err
}

// sessionTable is a list of sessions for people.
type sessionTable struct{ *tabwriter.Writer }

func columns(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func (c *client) table() sessionTable {
	t := sessionTable{columns(c.out)}
	if !c.json {
		fmt.Fprintln(t, "ID\tUSER\tREALM\tHOST\tCREATED\tLAST SEEN\tEXPIRES\tLABEL\tCLIENT")
	}
	return t
}

func (t sessionTable) add(sessions []adminSession) {
	for _, s := range sessions {
		client := s.SignInClient
		if client == nil {
			client = s.Client
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, printable(s.Subject), printable(s.Realm), printable(s.Scope.Host),
			clock(s.Created), clock(s.LastSeen), clock(s.Expires), short(printable(s.Label), 40), client.line(40))
	}
}

func (t sessionTable) flush() { t.Flush() }

// details shows one session.
func (c *client) details(s adminSession) {
	w := columns(c.out)
	defer w.Flush()
	line := func(name, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(w, "%s:\t%s\n", name, value)
		}
	}
	line("ID", s.ID)
	line("User", printable(s.Subject))
	line("Realm", printable(s.Realm))
	line("Host", printable(s.Scope.Host))
	line("Label", printable(s.Label))
	line("Created", clock(s.Created))
	line("Signed in", clock(s.SignedIn))
	line("Last seen", clock(s.LastSeen))
	line("Expires", clock(s.Expires))
	if s.Remembered {
		line("Stays signed in", "yes")
	}
	line("Ends by", clock(s.Deadline))
	line("Cookie", printable(s.Scope.Cookie+" of "+s.Scope.Host+s.Scope.Path))
	line("Client at creation", s.Client.line(0))
	line("Client at sign-in", s.SignInClient.line(0))
	line("Version", strconv.FormatUint(s.Version, 10))
	line("Size", strconv.Itoa(s.Bytes)+" bytes")
	line("Encrypted", strconv.FormatBool(s.Encrypted))
}

// line shows a client in limit characters. 0 is no limit; then the user agent
// follows in its own words.
func (c *adminClient) line(limit int) string {
	if c == nil {
		return "-"
	}
	words := browser(c.UserAgent)
	if limit == 0 && words != c.UserAgent {
		words += " (" + c.UserAgent + ")"
	}
	return short(printable(strings.TrimSpace(c.IP+" "+words)), limit)
}

// short cuts a text off at limit characters. 0 is no limit.
func short(text string, limit int) string {
	if runes := []rune(text); limit > 0 && len(runes) > limit {
		return string(runes[:limit-3]) + "..."
	}
	return text
}

// agents knows browsers. It takes tens of milliseconds to make.
var agents = sync.OnceValue(useragent.NewParser)

// browser tells browser and system of a user agent, such as `Firefox 140, Linux`.
// Of one that is not known it is the user agent itself.
func browser(userAgent string) string {
	agent := agents().Parse(userAgent)
	if agent.Browser() == "" {
		return userAgent
	}
	words := strings.TrimSpace(string(agent.Browser()) + " " + agent.BrowserVersionMajor())
	if system := string(agent.OS()); system != "" {
		words += ", " + system
	}
	return words
}

// numbers shows the answer of /session/stats.
func (c *client) numbers(n adminNumbers) {
	w := columns(c.out)
	defer w.Flush()
	up := "up"
	if !n.Up {
		up = "down"
	}
	fmt.Fprintf(w, "store\t%s, %s\n", n.Store, up)
	if n.LiveSessions != nil {
		fmt.Fprintf(w, "live sessions\t%d\n", *n.LiveSessions)
	}
	fmt.Fprintf(w, "open connections\t%d\n", n.OpenConnections)
	if n.NearCache != nil {
		fmt.Fprintf(w, "near-cache\t%d hits, %d misses\n", n.NearCache.Hits, n.NearCache.Misses)
	}
	for _, group := range []struct {
		name   string
		counts map[string]uint64
	}{{"requests", n.Requests}, {"commits", n.Commits}, {"control errors", n.ControlErrors}} {
		for _, outcome := range slices.Sorted(maps.Keys(group.counts)) {
			if count := group.counts[outcome]; count > 0 {
				fmt.Fprintf(w, "%s: %s\t%d\n", group.name, outcome, count)
			}
		}
	}
}

// clock is a time for people, in their zone.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// printable makes a text that anybody may have sent safe for a terminal and for
// a table. An empty one is "-".
func printable(text string) string {
	if text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) { // no escape sequence, no tab, no line, nothing that turns the direction
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
