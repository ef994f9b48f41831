package redisstore

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPort  = "6379"
	sentinelPort = "26379"
)

// target is what an address says.
type target struct {
	network  string // "tcp" or "unix"
	address  string // host:port, or the socket's path
	username string
	password string
	db       int
	tls      *tls.Config // nil for none
}

// parseAddress reads one of Options.Addresses. The port is for one without.
//
// Its errors quote nothing: an unescaped character moves any part of a
// password to where a host, port, path or query is expected.
func parseAddress(s, port string) (target, error) {
	scheme, _, isURL := strings.Cut(s, "://")
	if isURL {
		return parseURL(scheme, s, port)
	}
	if path, ok := strings.CutPrefix(s, "unix/"); ok {
		if path == "" {
			return target{}, errors.New("the address has no path after unix/")
		}
		return target{network: "unix", address: path}, nil
	}
	if strings.Contains(s, "@") {
		return target{}, errors.New("the address has credentials but is no URL: write redis://user:password@host:port")
	}
	if strings.Contains(s, "/") {
		return target{}, errors.New("the address is a path: a unix socket is written unix//path")
	}
	address, err := hostPort(s, port)
	return target{network: "tcp", address: address}, err
}

func parseURL(scheme, s, port string) (target, error) {
	switch scheme {
	case "redis", "rediss", "unix":
	default:
		return target{}, errors.New("the address begins with an unknown scheme: redis, rediss and unix are known")
	}
	u, err := url.Parse(s)
	if err != nil || u.Fragment != "" || u.Opaque != "" {
		return target{}, errors.New("the address is no valid URL (special characters of a password must be percent-encoded)")
	}
	t := target{network: "tcp", username: u.User.Username()}
	t.password, _ = u.User.Password()

	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return target{}, errors.New("the query of the address is not valid")
	}
	db := strings.TrimPrefix(u.Path, "/")
	if scheme == "unix" {
		if u.Host != "" || db == "" {
			return target{}, errors.New("the address has no path: a unix socket is written unix:///path")
		}
		t.network, t.address = "unix", u.Path
		db = query.Get("db")
		delete(query, "db")
	} else if t.address, err = hostPort(u.Host, port); err != nil {
		return target{}, err
	}
	if len(query) != 0 {
		return target{}, errors.New("the query of the address has an unknown parameter: only unix:// has one, db")
	}
	if db != "" {
		n, err := strconv.ParseUint(db, 10, 31)
		if err != nil {
			return target{}, errors.New("the database in the address is not a number")
		}
		t.db = int(n)
	}
	if scheme == "rediss" {
		t.tls = &tls.Config{}
	}
	return t, nil
}

// hostPort returns s with a port, the given one if it has none.
func hostPort(s, defaultPort string) (string, error) {
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return net.JoinHostPort(ip.String(), defaultPort), nil
	}
	if !strings.Contains(s, ":") {
		s = net.JoinHostPort(s, defaultPort)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return "", errors.New("the address is not of the form host:port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", errors.New("the port in the address is not a number from 1 to 65535")
	}
	return s, nil
}
