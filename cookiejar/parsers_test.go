package cookiejar_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/cookiejar"
	"github.com/caddy-session/caddy-session/internal/lifeline"
	"github.com/caddy-session/caddy-session/internal/need"
)

// TestParsers sends random Cookie headers to cookie parsers that applications
// have. Whatever a client sends, none finds a cookie of a managed name that is
// not from the jar, and none finds a session cookie with a value.
func TestParsers(t *testing.T) {
	need.Long(t, "parsers of other languages")
	const seed, number = 1, 100_000
	v := newVisitor(t, cookiejar.Rules{
		Keep: []string{"JSESSIONID", "PHPSESSID", "app_*"}, Drop: []string{"_ga*"}, Keys: []string{testKey},
		Seal: []cookiejar.WrapRule{{Names: []string{"prefs"}}}, Sign: []cookiejar.WrapRule{{Names: []string{"role"}}},
	})
	v.set(site, "JSESSIONID=kept; Path=/")
	managed := func(c nameValue) bool {
		return slices.Contains([]string{"JSESSIONID", "PHPSESSID", "role", "prefs"}, c.name) ||
			strings.HasPrefix(c.name, "app_") || strings.HasPrefix(c.name, "_ga") ||
			c.name == "sid" && c.value != ""
	}

	random := rand.New(rand.NewPCG(seed, 0))
	jars, context := [2]string{"", v.text()}, v.context(site)
	sent, received := make([]string, number), make([]string, number)
	for i := range number {
		sent[i] = randomHeader(random)
		h := http.Header{"Cookie": {sent[i]}}
		cookiejar.Strip(h, "sid")
		v.keeper.Receive(h, context, jars[i%2])
		received[i] = h.Get("Cookie")
	}
	for _, program := range parserPrograms(t) {
		n := number / program.share
		before, after := program.parse(t, sent[:n/10]), program.parse(t, received[:n])
		for column, parser := range program.parsers {
			t.Run(parser, func(t *testing.T) {
				forged, let := 0, 0
				for _, found := range before {
					if slices.ContainsFunc(found[column], managed) {
						forged++
					}
				}
				for i := range n {
					for _, cookie := range after[i][column] {
						if !managed(cookie) || jars[i%2] != "" && cookie == (nameValue{"JSESSIONID", "kept"}) {
							continue
						}
						if let++; let <= 10 {
							t.Errorf("%q becomes %q, in which it finds %q", sent[i], received[i], cookie)
						}
					}
				}
				if let > 0 {
					t.Errorf("%d managed cookies get in", let)
				}
				if forged < len(before)/20 {
					t.Errorf("it finds managed cookies in %d of %d headers as they are sent", forged, len(before))
				}
			})
		}
	}
}

// randomHeader returns a Cookie header as net/http lets it in, with much of what
// parsers read differently.
func randomHeader(random *rand.Rand) string {
	one := func(of ...string) string { return of[random.IntN(len(of))] }
	name := func() string {
		return one("JSESSIONID", "PHPSESSID", "role", "prefs", "app_x", "_ga", "sid", "a", "b", "theme")
	}
	edge := func() string {
		switch random.IntN(4) {
		case 0:
			return one(strings.Split("( ) < > @ , ; : \\ \" / [ ] ? = { }", " ")...)
		case 1:
			return one(" ", "\t", string([]byte{byte(0x80 + random.IntN(0x21))}))
		case 2:
			return one("\u0085", "\u00a0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff")
		}
		return one(",", ";", "; ", ", ", `"`, `\"`, "=")
	}
	var b strings.Builder
	for range 1 + random.IntN(4) {
		if b.Len() > 0 {
			b.WriteString(one("; ", "; ", ";", ",", ", ", " "))
		}
		if random.IntN(8) == 0 {
			b.WriteString(one("$Version=1; ", `$Version="1"; `, "$Path=/; ", "$", "%20", "+", "%"))
		}
		for range max(0, random.IntN(6)-2) {
			b.WriteString(edge())
		}
		b.WriteString(name())
		for range max(0, random.IntN(6)-3) {
			b.WriteString(edge())
		}
		if random.IntN(8) != 0 {
			b.WriteByte('=')
		}
		for range random.IntN(4) {
			b.WriteString(one(edge(), edge(), name(), "x", "1", `"x"`, `{"x":1}`))
		}
	}
	return b.String()
}

type nameValue struct{ name, value string }

// parserProgram is a program with some cookie parsers.
type parserProgram struct {
	parsers []string
	share   int // it gets one header of so many: not every one is fast
	// parse returns what each of the parsers finds in each of the headers.
	parse func(t *testing.T, headers []string) [][][]nameValue
}

func parserPrograms(t *testing.T) []parserProgram {
	var classes []string
	for _, name := range []string{"tomcat9-coyote", "tomcat9-util", "tomcat9-juli", "tomcat9-servlet-api", "jetty9-server", "jetty9-http", "jetty9-util"} {
		classes = append(classes, need.File(t, "/usr/share/java/"+name+".jar", name))
	}
	modules := filepath.Dir(need.File(t, "/usr/share/nodejs/cookie", "node-cookie"))
	need.Program(t, "javac") // to run source
	java := exec.Command(need.Program(t, "java"), "-Dorg.eclipse.jetty.util.log.class=org.eclipse.jetty.util.log.JavaUtilLog",
		"-cp", strings.Join(classes, ":"), "testdata/parsers/Parsers.java")
	python := exec.Command(need.Program(t, "python3"), "testdata/parsers/parsers.py")
	node := exec.Command(need.Program(t, "node"), "testdata/parsers/parsers.js")
	node.Env = append(os.Environ(), "NODE_PATH="+modules)
	return []parserProgram{
		lineProgram(java, "Tomcat, legacy", "Tomcat, legacy and lax", "Tomcat", "Jetty, RFC 2965", "Jetty, RFC 6265 legacy", "Jetty"),
		lineProgram(python, "Python", "Python, UTF-8"),
		lineProgram(node, "Node"),
		{[]string{"PHP"}, 10, parsePHP},
	}
}

// lineProgram is a program that reads a header from each line, and writes a line
// with what its parsers find.
func lineProgram(template *exec.Cmd, parsers ...string) parserProgram {
	return parserProgram{parsers, 1, func(t *testing.T, headers []string) [][][]nameValue {
		cmd := *template
		cmd.Stdin = strings.NewReader(strings.Join(headers, "\n") + "\n")
		var errors strings.Builder
		cmd.Stderr = &errors
		output, err := cmd.Output()
		lines := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
		if err != nil || len(lines) != len(headers) {
			t.Fatalf("%s: %d lines for %d headers, %v\n%s", cmd.Path, len(lines), len(headers), err, errors.String())
		}
		all := make([][][]nameValue, len(lines))
		for i, line := range lines {
			columns := strings.Split(line, "\t")
			if len(columns) != len(parsers) {
				t.Fatalf("%s: %q", cmd.Path, line)
			}
			for _, column := range columns {
				all[i] = append(all[i], readCookies(t, column))
			}
		}
		return all
	}}
}

// readCookies reads what a parser writes.
func readCookies(t *testing.T, text string) (all []nameValue) {
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		decodedName, err1 := hex.DecodeString(name)
		decodedValue, err2 := hex.DecodeString(value)
		if err1 != nil || err2 != nil {
			t.Fatalf("%q", text)
		}
		all = append(all, nameValue{string(decodedName), string(decodedValue)})
	}
	return all
}

// parsePHP sends each header in a FastCGI request, as PHP has no function that
// parses one.
func parsePHP(t *testing.T, headers []string) [][][]nameValue {
	script, err := filepath.Abs("testdata/parsers/parsers.php")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "php")
	cmd := exec.Command(need.Program(t, "php-cgi"), "-n", "-q", "-b", socket)
	cmd.Env = append(os.Environ(), "PHP_FCGI_MAX_REQUESTS=0")
	if err := lifeline.Start(cmd, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	var conn net.Conn
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if conn, err = net.Dial("unix", socket); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	all := make([][][]nameValue, len(headers))
	for i, header := range headers {
		body, err := fastCGI(conn, in, map[string]string{
			"REQUEST_METHOD": "GET", "SCRIPT_FILENAME": script, "HTTP_COOKIE": header,
		})
		if err != nil {
			t.Fatalf("PHP: %q: %v", header, err)
		}
		all[i] = [][]nameValue{readCookies(t, body)}
	}
	return all
}

// fastCGI makes one FastCGI request on a connection, and returns the body of the
// response.
func fastCGI(conn io.Writer, in *bufio.Reader, params map[string]string) (body string, err error) {
	const beginRequest, endRequest, paramsRecord, stdin, stdout = 1, 3, 4, 5, 6
	var request, encoded []byte
	record := func(kind byte, content []byte) {
		request = append(request, 1, kind, 0, 1, byte(len(content)>>8), byte(len(content)), 0, 0)
		request = append(request, content...)
	}
	for name, value := range params {
		encoded = append(encoded, byte(len(name)))
		encoded = binary.BigEndian.AppendUint32(encoded, 1<<31|uint32(len(value)))
		encoded = append(append(encoded, name...), value...)
	}
	record(beginRequest, []byte{0, 1, 1, 0, 0, 0, 0, 0}) // a responder on a connection that stays
	record(paramsRecord, encoded)
	record(paramsRecord, nil)
	record(stdin, nil)
	if _, err := conn.Write(request); err != nil {
		return "", err
	}
	var output []byte
	for {
		var head [8]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return "", err
		}
		content := make([]byte, int(binary.BigEndian.Uint16(head[4:]))+int(head[6]))
		if _, err := io.ReadFull(in, content); err != nil {
			return "", err
		}
		switch head[1] {
		case stdout:
			output = append(output, content[:len(content)-int(head[6])]...)
		case endRequest:
			_, body, ok := strings.Cut(string(output), "\r\n\r\n")
			if !ok {
				return "", fmt.Errorf("PHP answers %q", output)
			}
			return body, nil
		}
	}
}
