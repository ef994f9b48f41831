package redisstore_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
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
	dir := t.TempDir()
	roots := certify(t, dir)
	port := strconv.Itoa(redistest.FreePort(t))
	redistest.Start(t,
		"--tls-port", port,
		"--tls-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-key-file", filepath.Join(dir, "key.pem"),
		"--tls-ca-cert-file", filepath.Join(dir, "cert.pem"),
		"--tls-auth-clients", "no",
	)
	addr := net.JoinHostPort("localhost", port)
	opts := redisstore.Options{Addresses: []string{addr}, TLS: &tls.Config{RootCAs: roots}, Timeout: patient}
	storetest.Run(t, func(t *testing.T) session.Store { return open(t, opts) }, storetest.Options{})

	t.Run("rediss", func(t *testing.T) {
		if s := open(t, redisstore.Options{Addresses: []string{"rediss://" + addr}, TLS: opts.TLS, Timeout: patient}); !works(s) {
			t.Error("it does not work")
		}
		// Without the root, or under a wrong name, nobody is trusted.
		for _, o := range []redisstore.Options{
			{Addresses: []string{"rediss://" + addr}},
			{Addresses: []string{addr}, TLS: &tls.Config{RootCAs: roots, ServerName: "elsewhere"}},
		} {
			o.Timeout = patient
			_, err := open(t, o).Get(t.Context(), newID())
			if err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("got error %v, want one about the certificate", err)
			}
		}
	})
}

// certify writes a certificate for localhost and its key, and returns a pool
// that trusts it.
func certify(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test"},
		DNSNames:              []string{"localhost"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, b := range map[string][]byte{
		"cert.pem": certPEM,
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	return roots
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
		for _, call := range calls(s, id) {
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
