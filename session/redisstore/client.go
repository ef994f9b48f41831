package redisstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/rueidis"
)

const (
	// minDialTimeout lets the first connection take longer than a call.
	minDialTimeout = time.Second

	// pingInterval is how often an idle connection is tried, so that one that
	// a firewall has forgotten is found before a request needs it.
	pingInterval = 10 * time.Second

	// bufferSize is that of a connection's two buffers. A session is rarely
	// above a few KiB, so this holds a good many.
	bufferSize = 64 << 10
)

// newClient dials and returns a client that dials anew when it has to, until
// ctx is done. failed is told of every connection that can't be made or that
// was given up.
func newClient(ctx context.Context, cfg config, failed func(error)) (rueidis.Client, error) {
	dialTimeout := max(cfg.timeout, minDialTimeout)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{cfg.address},
		Username:    cfg.username,
		Password:    cfg.password,
		SelectDB:    cfg.db,
		ClientName:  cfg.clientName,
		TLSConfig:   cfg.tls,
		Dialer:      net.Dialer{Timeout: dialTimeout, KeepAlive: pingInterval},
		DialCtxFn: func(call context.Context, address string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
			conn, err := dial(ctx, call, cfg, address, d, conf, failed)
			if err != nil {
				failed(err)
			}
			return conn, err
		},

		// Calls have deadlines of their own, and a watched connection is not
		// waited for: this only has to be longer.
		ConnWriteTimeout: 2 * dialTimeout,

		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
		ClientSetInfo:       rueidis.DisableClientSetInfo,
		ForceSingleClient:   true,
		DisableCache:        true,
		DisableRetry:        true,
	})
	if err != nil {
		if client != nil { // a single client is returned with the error
			client.Close()
		}
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return client, nil
}

// dial makes one connection, within the time of the call and the life of ctx.
func dial(ctx, call context.Context, cfg config, address string, d *net.Dialer, conf *tls.Config, failed func(error)) (net.Conn, error) {
	call, cancel := context.WithCancel(call)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()

	raw, err := d.DialContext(call, cfg.network, address)
	if err != nil {
		return nil, err
	}
	conn := watch(ctx, raw, cfg.timeout, func() { failed(errNoAnswer) })
	if conf == nil {
		return conn, nil
	}
	if conf.ServerName == "" {
		host, _, _ := net.SplitHostPort(address)
		conf = conf.Clone()
		conf.ServerName = host
	}
	secure := tls.Client(conn, conf)
	if err := secure.HandshakeContext(call); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}
