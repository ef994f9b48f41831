// Scsproxy is a reverse proxy as one would write it with Go's standard library
// and scs (https://github.com/alexedwards/scs), with sessions in Redis.
package main

import (
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/redis/go-redis/v9"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "the address to listen on")
	upstream := flag.String("upstream", "", "the address to proxy to")
	store := flag.String("redis", "", "the address of Redis; without it, there are no sessions")
	flag.Parse()

	sessions := scs.New()
	sessions.Lifetime = 24 * time.Hour
	sessions.Store = goredisstore.New(redis.NewClient(&redis.Options{Addr: *store}))

	// Two idle connections to each upstream, as is the default, would make
	// this a measurement of TCP's handshake.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 0
	transport.MaxIdleConnsPerHost = 256
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: *upstream})
			r.SetXForwarded()
			r.Out.Header.Del("X-Session-User")
			if *store == "" {
				return
			}
			if user := sessions.GetString(r.In.Context(), "user"); user != "" {
				r.Out.Header.Set("X-Session-User", user)
			}
		},
	}

	if *store == "" {
		log.Fatal(http.ListenAndServe(*listen, proxy))
	}

	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		if err := sessions.RenewToken(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for key, value := range map[string]string{"user": "alice", "roles": "admin editor", "lang": "fr", "return": "/page/of/some/length"} {
			sessions.Put(r.Context(), key, value)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	log.Fatal(http.ListenAndServe(*listen, sessions.LoadAndSave(mux)))
}
