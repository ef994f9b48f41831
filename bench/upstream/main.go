// Upstream is the application that stands behind every proxy of the
// comparison. It does as little as an application can, so that what is measured
// is the proxy.
//
//	/         about 1 KiB of text
//	/login    signs alice in, in the ways of caddy-session and of Apache, and
//	          with ?cookie also with a cookie of its own
//	/whoami   the session and the cookie that have arrived here, for checks
//
// For what sessions cost when there are many, or for long, see sessions.go.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	flag.Parse()

	body := []byte(strings.Repeat("It is a page of sixty-four bytes, and then the same once again.\n", 16))
	length := []string{strconv.Itoa(len(body))}
	text := []string{"text/plain; charset=utf-8"}

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = text
		w.Header()["Content-Length"] = length
		w.Write(body)
	})
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Session-Set", `{"user":"alice","roles":["admin","editor"],"lang":"fr","return":"/page/of/some/length"}`)
		h.Set("X-Replace-Session", "user=alice&roles=admin+editor&lang=fr&return=%2fpage%2fof%2fsome%2flength")
		if r.URL.RawQuery == "cookie" {
			h.Set("Set-Cookie", "appsid=0123456789abcdef0123456789abcdef; Path=/; HttpOnly")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "session: %s\ncookie: %s\n", r.Header.Get("X-Session-User"), r.Header.Get("Cookie"))
	})
	handleSessions(mux, body)
	log.Fatal(http.ListenAndServe(*listen, mux))
}
