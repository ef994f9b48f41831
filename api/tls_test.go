package api

import (
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-session/caddy-session/internal/selfsigned"
	"github.com/caddy-session/caddy-session/session"
)

// With TLS, only TLS is spoken, and with client_auth only to who has a certificate.
func TestTLS(t *testing.T) {
	cert, key, roots := selfsigned.Localhost(t)
	otherCert, otherKey, _ := selfsigned.Localhost(t)
	_, capability := testCapability(t, `{"a":1}`)
	for _, tt := range []struct {
		what  string
		ca    string    // of clients
		plain bool      // the client speaks no TLS
		shows [2]string // the client's certificate and key
		max   uint16    // TLS version
		want  string    // what the answer begins with; "": there is none
	}{
		{what: "anybody", want: "HTTP/1.1 200 "},
		{what: "no TLS", plain: true, want: "HTTP/1.0 400 "},
		{what: "old TLS", max: tls.VersionTLS11},
		{what: "no certificate", ca: cert},
		{what: "the certificate of somebody else", ca: cert, shows: [2]string{otherCert, otherKey}},
		{what: "a certificate", ca: cert, shows: [2]string{cert, key}, want: "HTTP/1.1 200 "},
	} {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := free.Addr().(*net.TCPAddr)
		free.Close()
		host := "localhost:" + strconv.Itoa(at.Port)
		l := &Listener{Listen: at.String(), Advertise: host, TLS: &TLS{Certificate: cert, Key: key, ClientCA: tt.ca}}
		server, err := l.Server(zap.NewNop(), func(session.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		stop, err := l.Serve(server)
		if err != nil {
			t.Fatal(err)
		}
		url := server.Header(capability)[0]
		path, ok := strings.CutPrefix(url, "https://"+host)
		if !ok {
			t.Errorf("the capability is %s", url)
		}
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		if !tt.plain {
			config := &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
			if tt.shows[0] != "" {
				pair, err := tls.LoadX509KeyPair(tt.shows[0], tt.shows[1])
				if err != nil {
					t.Fatal(err)
				}
				// Whatever authorities the server asks for.
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			c = tls.Client(c, config)
		}
		io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c) // which may end with a reset
		if got := string(answer); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q", tt.what, got)
		}
		c.Close()
		stop()
	}
}

// What can't work is said when Caddy loads the configuration.
func TestTLSSettings(t *testing.T) {
	cert, key, _ := selfsigned.Localhost(t)
	_, otherKey, _ := selfsigned.Localhost(t)
	for want, l := range map[string]Listener{
		"":                              {Listen: "10.0.0.5:2021", Advertise: "localhost:2021", TLS: &TLS{Certificate: cert, Key: key}},
		"certificate for 10.0.0.5":      {Listen: "10.0.0.5:2021", TLS: &TLS{Certificate: cert, Key: key}},
		"private key does not match":    {Listen: "localhost:2021", TLS: &TLS{Certificate: cert, Key: otherKey}},
		"no such file":                  {Listen: "localhost:2021", TLS: &TLS{Certificate: cert + "x", Key: key}},
		"client_auth: no certificate":   {Listen: "localhost:2021", TLS: &TLS{Certificate: cert, Key: key, ClientCA: key}},
		"client_auth needs tls":         {Listen: "localhost:2021", TLS: &TLS{ClientCA: cert}},
		"for an API without tls":        {Listen: "localhost:2021", InsecureRemote: true, TLS: &TLS{Certificate: cert, Key: key}},
		"are for addresses with a port": {Listen: "unix//run/a.sock", TLS: &TLS{Certificate: cert, Key: key}},
		"other machines may reach":      {Listen: "10.0.0.5:2021"},
	} {
		_, err := l.Server(zap.NewNop(), func(session.Event) {})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
