//go:build unix

package redisstore_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-session/caddy-session/session"
	"github.com/caddy-session/caddy-session/session/redisstore"
	"github.com/caddy-session/caddy-session/session/redisstore/redistest"
	"github.com/caddy-session/caddy-session/session/storetest"
)

// secret stands for what no message may contain.
const secret = "s3cr3t/p@ss#word"

func TestTLS(t *testing.T) {
	certs := redistest.Certify(t)
	port := redistest.FreePort(t)
	redistest.Start(t, certs.Args(port, true)...)
	addr := net.JoinHostPort("localhost", strconv.Itoa(port))
	conf := func(change func(*tls.Config)) *tls.Config {
		c := &tls.Config{RootCAs: certs.Roots, Certificates: []tls.Certificate{certs.Client}}
		if change != nil {
			change(c)
		}
		return c
	}
	opts := redisstore.Options{Addresses: []string{addr}, TLS: conf(nil), Timeout: patient}
	storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{})

	for name, test := range map[string]struct {
		address string
		conf    *tls.Config
		want    string // in the error
	}{
		"rediss":                  {"rediss://" + addr, conf(nil), "not found"},
		"by address":              {net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), conf(nil), "not found"},
		"without a certificate":   {addr, conf(func(c *tls.Config) { c.Certificates = nil }), "connecting"}, // and the server hangs up
		"of an unknown authority": {addr, conf(func(c *tls.Config) { c.RootCAs = nil }), "certificate"},
		"under another name":      {addr, conf(func(c *tls.Config) { c.ServerName = "elsewhere" }), "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, redisstore.Options{Addresses: []string{test.address}, TLS: test.conf, Timeout: patient})
			if _, err := s.Get(t.Context(), newID()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

// A connection that takes longer to make than a call may take is there for a
// later one.
func TestSlowToConnect(t *testing.T) {
	certs := redistest.Certify(t)
	port := redistest.FreePort(t)
	redistest.Start(t, certs.Args(port, false)...)
	proxy := redistest.NewProxy(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	proxy.Delay(100 * time.Millisecond) // each way
	s := open(t, redisstore.Options{
		Addresses: []string{proxy.Addr}, Timeout: 500 * time.Millisecond, TLS: &tls.Config{RootCAs: certs.Roots},
	})
	eventually(t, "the store works", func() bool { return works(s) })
}

// The permissions that the package documents are enough.
func TestDocumentedACL(t *testing.T) {
	src, err := os.ReadFile("redisstore.go")
	if err != nil {
		t.Fatal(err)
	}
	_, acl, ok := strings.Cut(string(src), "//	user caddy on >secret ")
	acl, _, ok2 := strings.Cut(acl, "\n//\n")
	if !ok || !ok2 {
		t.Fatal("the package comment has no ACL")
	}
	rules := strings.Fields(strings.ReplaceAll(acl, "//", ""))

	server := redistest.Start(t)
	c := admin(t, server.Addr)
	do(t, c, append([]string{"ACL", "SETUSER", "caddy", "on", ">" + secret}, rules...)...)
	opts := redisstore.Options{Addresses: []string{server.Addr}, Username: "caddy", Password: secret, Timeout: patient}
	storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{})

	if log, err := do(t, c, "ACL", "LOG").ToArray(); err != nil || len(log) != 0 {
		t.Errorf("the server refused something: %v, %v", log, err)
	}

	// None of it can be left out but what the comment says.
	for _, rule := range rules {
		command, ok := strings.CutPrefix(rule, "+")
		if !ok || command == "ping" || command == "info" || strings.HasPrefix(command, "cluster|") {
			continue
		}
		do(t, c, "ACL", "SETUSER", "caddy", "-"+command)
		do(t, c, "SCRIPT", "FLUSH")
		s := open(t, opts)
		id := newID()
		do(t, c, "SET", "session:"+id, string(entry(1, "").Value), "EX", "60")
		failed := false
		for _, call := range storetest.Calls(s, id) {
			failed = failed || call(t.Context()) != nil
		}
		// These three are reached on one way only.
		_, err := s.Get(t.Context(), id)
		failed = failed || err != nil || s.Delete(t.Context(), id, 1) != nil || s.Put(t.Context(), newID(), 1, entry(2, "")) != session.ErrNotFound
		if !failed {
			t.Errorf("all works without +%s", command)
		}
		do(t, c, "ACL", "SETUSER", "caddy", "+"+command)
	}
}

func TestWrongPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "right")
	for _, opts := range []redisstore.Options{
		{Addresses: []string{server.Addr}},
		{Addresses: []string{server.Addr}, Password: secret},
		{Addresses: []string{server.Addr}, Username: "caddy", Password: secret},
		{Addresses: []string{"redis://:s3cr3t%2Fp%40ss%23word@" + server.Addr}},
	} {
		opts.Timeout = patient
		s := open(t, opts)
		for range 2 { // in an attempt and in a pause
			_, err := s.Get(t.Context(), newID())
			if err == nil || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("got error %v, want one without the password", err)
			}
		}
	}
	if s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Password: "right", Timeout: patient}); !works(s) {
		t.Error("the right password does not work")
	}
}

// A server that does not know a command quotes its arguments, among them the
// session: that must not show up in an error.
func TestErrorsDoNotQuote(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "SET", "", "--rename-command", "EVAL", "", "--rename-command", "EVALSHA", "")
	s := open(t, redisstore.Options{Addresses: []string{server.Addr}, Timeout: patient})
	filed := entry(1, secret)
	filed.IndexKey, filed.Deadline = "k", time.Now().Add(time.Hour)
	for _, err := range []error{
		s.Put(context.Background(), newID(), 0, entry(1, secret)),
		s.Put(context.Background(), newID(), 1, entry(2, secret)),
		s.Put(context.Background(), newID(), 0, filed),
	} {
		if err == nil || strings.Contains(err.Error(), secret[:6]) || !strings.Contains(err.Error(), "unknown command") {
			t.Errorf("got error %v, want one that does not quote", err)
		}
	}
}
