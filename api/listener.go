package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/caddy-session/caddy-session/session"
)

// Listener says where applications reach the API.
type Listener struct {
	// A Unix socket, `unix//run/caddy/session.sock`, which gets the mode 0660, or a
	// loopback address with a port.
	Listen string `json:"listen"`

	// The host and port by which applications reach it, where that is not what it
	// listens on.
	Advertise string `json:"advertise,omitempty"`

	// Encrypts what is said, so that it may listen on addresses that other machines
	// reach.
	TLS *TLS `json:"tls,omitempty"`

	// Allows addresses that other machines reach without TLS: whoever sees the
	// traffic can use what it sees.
	InsecureRemote bool `json:"insecure_remote,omitempty"`
}

// mode is that of a Unix socket: its group is for applications.
const mode = "0660"

// Check reads the settings without listening.
func (l *Listener) Check() error {
	_, _, err := l.address()
	return err
}

// address returns where to listen, and the URL of the API.
func (l *Listener) address() (at caddy.NetworkAddress, base string, err error) {
	at, err = caddy.ParseNetworkAddress(l.Listen)
	if err != nil {
		return at, "", fmt.Errorf("api %s: %w", l.Listen, err)
	}
	if at.Network == "unix" {
		switch {
		case !filepath.IsAbs(at.Host):
			return at, "", fmt.Errorf("api %s: write the whole path of the socket, as in unix//run/caddy/session.sock", l.Listen)
		case strings.Contains(at.Host, "|"):
			return at, "", fmt.Errorf("api %s: the mode of the socket is %s: leave it out", l.Listen, mode)
		case l.Advertise != "" || l.InsecureRemote || l.TLS != nil:
			return at, "", fmt.Errorf("api %s: advertise, insecure_remote, tls and client_auth are for addresses with a port", l.Listen)
		}
		base = "http+unix://" + url.PathEscape(at.Host) + "/"
		at.Host += "|" + mode
		return at, base, nil
	}
	switch {
	case at.Network != "tcp" && at.Network != "tcp4" && at.Network != "tcp6", at.PortRangeSize() != 1 || at.StartPort == 0:
		return at, "", fmt.Errorf("api %q: write unix//PATH, or a loopback address with one port such as 127.0.0.1:2021", l.Listen)
	case l.TLS != nil && (l.TLS.Certificate == "" || l.TLS.Key == ""):
		return at, "", fmt.Errorf("api %s: client_auth needs tls CERTIFICATE KEY", l.Listen)
	case l.TLS != nil && l.InsecureRemote:
		return at, "", fmt.Errorf("api %s: insecure_remote is for an API without tls: leave it out", l.Listen)
	case !isLoopback(at.Host) && l.TLS == nil && !l.InsecureRemote:
		return at, "", fmt.Errorf("api %s: other machines may reach this address: write a loopback address or a Unix socket, or tls CERTIFICATE KEY in a block", l.Listen)
	}
	host := l.Advertise
	if host == "" {
		if ip, err := netip.ParseAddr(at.Host); at.Host == "" || err == nil && ip.IsUnspecified() {
			return at, "", fmt.Errorf("api %s: add advertise HOST:PORT, by which applications reach it", l.Listen)
		}
		host = net.JoinHostPort(at.Host, strconv.FormatUint(uint64(at.StartPort), 10))
	}
	if name, port, err := net.SplitHostPort(host); err != nil || name == "" || port == "" || strings.ContainsAny(host, "/?#@ ") {
		return at, "", fmt.Errorf("api: advertise %s: write HOST:PORT", host)
	}
	if l.TLS != nil {
		return at, "https://" + strings.TrimSuffix(host, ":443") + "/", nil
	}
	return at, "http://" + strings.TrimSuffix(host, ":80") + "/", nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// Server returns a server that does not listen yet. It counts its events. The files
// of TLS are read here.
func (l *Listener) Server(log *zap.Logger, count func(session.Event)) (*Server, error) {
	_, base, err := l.address()
	if err != nil {
		return nil, err
	}
	s := &Server{base: base, host: unixHost, log: log, count: count, unknown: rate.NewLimiter(unknownRate, unknownRate)}
	if scheme, host, _ := strings.Cut(strings.TrimSuffix(base, "/"), "://"); scheme != "http+unix" {
		s.host = host
	}
	if l.TLS != nil {
		if s.tls, err = l.TLS.config(s.host); err != nil {
			return nil, fmt.Errorf("api %s: %w", l.Listen, err)
		}
	}
	return s, nil
}

// closeTimeout is how long Close waits for what is under way.
const closeTimeout = 3 * time.Second

// Serve listens, by a listener of Caddy that configurations share, and answers
// until the function that it returns is called.
func (l *Listener) Serve(s *Server) (stop func(), err error) {
	at, _, err := l.address()
	if err != nil {
		return nil, err
	}
	errorLog, err := zap.NewStdLogAt(s.log, zap.WarnLevel)
	if err != nil {
		return nil, err
	}
	listener, err := at.Listen(context.Background(), 0, net.ListenConfig{})
	if err != nil {
		return nil, fmt.Errorf("api: listening on %s: %w", l.Listen, err)
	}
	server := &http.Server{
		Handler: s, ErrorLog: errorLog,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 8 << 10,
	}
	accepting := listener.(net.Listener)
	if s.tls != nil {
		accepting = tls.NewListener(accepting, s.tls)
	}
	go func() {
		if err := server.Serve(accepting); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.log.Error("the session API has stopped listening", zap.Error(err))
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	}, nil
}
