//go:build unix

package redistest

import (
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
	"testing"
	"time"
)

// Certificates are those of an authority made for the test, of a server named
// localhost and 127.0.0.1, and of a client. They are valid for an hour.
type Certificates struct {
	// Roots trusts the authority.
	Roots *x509.CertPool

	// Client is what a client shows.
	Client tls.Certificate

	// CAFile, ClientCertFile and ClientKeyFile are the same in PEM.
	CAFile, ClientCertFile, ClientKeyFile string

	certFile, keyFile string // of the server
}

// Certify makes certificates in a directory that is removed with the test.
func Certify(t testing.TB) *Certificates {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	var authority *x509.Certificate
	var authorityKey *ecdsa.PrivateKey
	// issue writes a certificate signed by the authority, the first one by itself.
	issue := func(name string, usage x509.ExtKeyUsage) (certFile, keyFile string) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(err)
		serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
		check(err)
		cert := &x509.Certificate{
			SerialNumber:          serial,
			Subject:               pkix.Name{CommonName: name},
			NotBefore:             time.Now().Add(-time.Hour),
			NotAfter:              time.Now().Add(time.Hour),
			IsCA:                  authority == nil,
			BasicConstraintsValid: true,
			KeyUsage:              x509.KeyUsageDigitalSignature,
			ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		}
		switch {
		case authority == nil:
			cert.KeyUsage, cert.ExtKeyUsage = x509.KeyUsageCertSign, nil
			authority, authorityKey = cert, key
		case usage == x509.ExtKeyUsageServerAuth:
			cert.DNSNames, cert.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, authority, key.Public(), authorityKey)
		check(err)
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		check(err)
		certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
		check(os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		check(os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
		return certFile, keyFile
	}

	c := &Certificates{Roots: x509.NewCertPool()}
	c.CAFile, _ = issue("authority", 0)
	c.certFile, c.keyFile = issue("server", x509.ExtKeyUsageServerAuth)
	c.ClientCertFile, c.ClientKeyFile = issue("client", x509.ExtKeyUsageClientAuth)
	ca, err := os.ReadFile(c.CAFile)
	check(err)
	c.Roots.AppendCertsFromPEM(ca)
	c.Client, err = tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile)
	check(err)
	return c
}

// Args are the settings for Start that make a server listen on port with TLS
// and, if it should, turn away clients that show no certificate.
func (c *Certificates) Args(port int, clients bool) []string {
	auth := "no"
	if clients {
		auth = "yes"
	}
	return []string{
		"--tls-port", strconv.Itoa(port),
		"--tls-cert-file", c.certFile,
		"--tls-key-file", c.keyFile,
		"--tls-ca-cert-file", c.CAFile,
		"--tls-auth-clients", auth,
	}
}
