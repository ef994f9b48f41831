package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// TLS is how the API is encrypted. Its files are in PEM, and read when Caddy loads
// the configuration.
type TLS struct {
	// The certificate, with those that lead from it to an authority, for the host
	// by which applications reach the API. Required.
	Certificate string `json:"certificate,omitempty"`

	// Its private key. Required.
	Key string `json:"key,omitempty"`

	// The authorities of clients: who has no certificate of one of them can't
	// connect. Default: anybody can.
	ClientCA string `json:"client_ca,omitempty"`
}

// config reads the files. The error tells of a certificate that is not for the host,
// which may have a port, too: no application could connect.
func (t *TLS) config(host string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, fmt.Errorf("tls %s %s: %w", t.Certificate, t.Key, err)
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil { // without a port
		name = host
	}
	if err := pair.Leaf.VerifyHostname(name); err != nil {
		return nil, fmt.Errorf("tls %s: %w", t.Certificate, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if t.ClientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("client_auth: %w", err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client_auth: no certificate in PEM in %s", t.ClientCA)
	}
	return config, nil
}
