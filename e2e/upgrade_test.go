package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// upgrading is the answer of an upstream that switches to a protocol in which
// it sends back what it gets.
func upgrading(lines string) func(net.Conn, *http.Request) {
	return func(c net.Conn, _ *http.Request) {
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+lines+"\r\n")
		io.Copy(c, c)
	}
}

// echo sends a request to upgrade to what upgrading speaks, tries it, and
// returns the head of the response.
func echo(t testing.TB, c net.Conn, request string) (head string) {
	t.Helper()
	io.WriteString(c, request)
	in := bufio.NewReader(c)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("reading head: %v after %q", err, head)
		}
		head += line
	}
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("no upgrade: %q", head)
	}
	io.WriteString(c, "ping\n")
	if line, err := in.ReadString('\n'); line != "ping\n" {
		t.Fatalf("echo of ping: %q, %v", line, err)
	}
	return head
}
