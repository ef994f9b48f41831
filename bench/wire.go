package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// wire is a connection to a server for one request after the other. It costs
// less than an http.Client, which has the same cores as what is measured. The
// zero wire with an address connects when it has to.
type wire struct {
	address string
	conn    net.Conn
	in      *bufio.Reader
}

// wireTimeout is how long a request may take, with its answer.
const wireTimeout = 10 * time.Second

// browserHeaders are the lines of browser, as requests have them.
var browserHeaders = strings.Join(browser, "\r\n") + "\r\n"

// get makes one request and reads the answer. The cookie is the value of the
// session's; without one, none is sent.
func (w *wire) get(path, cookie string) (answer *http.Response, body []byte, err error) {
	if err := w.send("GET", path, cookie, ""); err != nil {
		return nil, nil, err
	}
	return w.receive()
}

// send sends a request with further header lines, or what is left of it after
// them, and connects first if need be.
func (w *wire) send(method, path, cookie, rest string) (err error) {
	if w.conn == nil {
		if w.conn, err = net.DialTimeout("tcp", w.address, wireTimeout); err != nil {
			return err
		}
		w.in = bufio.NewReader(w.conn)
	}
	w.conn.SetDeadline(time.Now().Add(wireTimeout))
	// An application must not see who the client says it is.
	request := method + " " + path + " HTTP/1.1\r\nHost: " + w.address + "\r\nX-Session-User: mallory\r\n" + browserHeaders
	if cookie != "" {
		request += "Cookie: csid=" + cookie + "\r\n"
	}
	if rest == "" {
		rest = "\r\n"
	}
	if _, err = io.WriteString(w.conn, request+rest); err != nil {
		w.close()
	}
	return err
}

// receive reads an answer with all of its body.
func (w *wire) receive() (answer *http.Response, body []byte, err error) {
	answer, err = http.ReadResponse(w.in, nil)
	if err == nil {
		body, err = io.ReadAll(answer.Body)
	}
	if err != nil || answer.Close {
		w.close()
	}
	return answer, body, err
}

// close closes the connection. The next request opens another.
func (w *wire) close() {
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

// visitor is a user with the cookie of a session; without a name, somebody who
// is not signed in.
type visitor struct{ user, cookie string }

// sees returns an error unless the answer is a good one, from an application
// that has seen this user and no other.
func (v visitor) sees(answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s for %q", answer.Status, v.user)
	}
	if saw := answer.Header.Get("Seen-User"); saw != v.user {
		return fmt.Errorf("the application has seen %q instead of %q", saw, v.user)
	}
	return nil
}
