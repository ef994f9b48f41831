package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// pingInterval is how often an idle connection is tried, so that one that
	// a firewall has forgotten is found before a request needs it.
	pingInterval = 10 * time.Second

	// refreshInterval is how often Sentinels are asked who the primary is, and
	// a Cluster who has which keys. Both are learned from what happens, too.
	refreshInterval = time.Second

	// poolIdle is how long a connection is kept on which a call has waited for
	// replicas.
	poolIdle = time.Minute

	// bufferSize is that of a connection's two buffers. A session is rarely
	// above a few KiB, so this holds a good many.
	bufferSize = 64 << 10

	// maxRedirects bounds how far a command follows a key through a Cluster
	// that is being resharded.
	maxRedirects = 4
)

// newClient connects and returns a client that connects anew when it has to. A
// single address is asked whether it belongs to a Cluster.
func newClient(cfg config, d *dialer) (rueidis.Client, error) {
	var this attempt
	option := rueidis.ClientOption{
		InitAddress: cfg.addresses,
		Username:    cfg.username,
		Password:    cfg.password,
		SelectDB:    cfg.db,
		ClientName:  cfg.clientName,
		TLSConfig:   cfg.tls,
		Dialer:      net.Dialer{Timeout: max(cfg.timeout, minDialTimeout), KeepAlive: pingInterval},
		DialCtxFn: func(call context.Context, address string, _ *net.Dialer, conf *tls.Config) (net.Conn, error) {
			conn, err := d.dial(call, address, conf)
			if err != nil {
				return nil, err
			}
			return this.take(conn)
		},

		// Calls have deadlines of their own, and a watched connection is not
		// waited for: this only has to be longer.
		ConnWriteTimeout: 2 * max(cfg.timeout, minDialTimeout),

		// One connection for each server, as in a Cluster: what is asked at
		// the same time shares system calls, there and here.
		PipelineMultiplex: -1,

		BlockingPoolCleanup: poolIdle,
		ReadBufferEachConn:  bufferSize,
		WriteBufferEachConn: bufferSize,
		ClientSetInfo:       rueidis.DisableClientSetInfo,
		ForceSingleClient:   cfg.network == "unix" || cfg.db != 0, // no Cluster has those
		DisableCache:        true,
		DisableRetry:        true,
		ClusterOption:       rueidis.ClusterOption{ShardsRefreshInterval: refreshInterval, MaxMovedRedirections: maxRedirects},
	}
	if s := cfg.sentinel; s != nil {
		option.Sentinel = rueidis.SentinelOption{
			MasterSet: s.Master, Username: s.Username, Password: s.Password, ClientName: cfg.clientName,
			TLSConfig: cfg.tls, Dialer: option.Dialer, TopologyRefreshInterval: refreshInterval,
		}
	}
	client, err := rueidis.NewClient(option)
	if err != nil && client != nil { // a single client is returned with the error
		client.Close()
	}
	this.end(err)
	if err == nil {
		return client, nil
	}
	if cfg.sentinel == nil && len(cfg.addresses) > 1 && strings.Contains(err.Error(), "cluster support disabled") {
		err = errors.New("this is no Cluster, and only those have several addresses (for Sentinels, give the name of their primary with sentinel)")
	}
	return nil, fmt.Errorf("connecting: %w", err)
}
