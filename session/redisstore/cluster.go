package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

var errMoved = errors.New("the primaries of the Cluster have changed meanwhile: begin again")

// listCluster is List in a Cluster. Its cursors have the form
//
//	<digest of the primaries' addresses> <address> <cursor of SCAN there>
//
// A page that is the last of a server is followed by the first of the next.
func (s *Store) listCluster(ctx context.Context, client rueidis.Client, cursor string, limit int) ([]string, string, error) {
	nodes, addresses, err := primaries(ctx, client)
	if err := s.done(&s.link.reads, err); err != nil {
		return nil, "", err
	}
	digest := digest(addresses)
	address, from := addresses[0], uint64(0)
	if cursor != "" {
		fields := strings.Split(cursor, " ")
		if len(fields) != 3 {
			return nil, "", errCursor
		}
		if fields[0] != digest || !slices.Contains(addresses, fields[1]) {
			return nil, "", errMoved
		}
		address = fields[1]
		if from, err = parseCursor(fields[2]); err != nil {
			return nil, "", err
		}
	}
	ids, next, err := s.scan(ctx, nodes[address], from, limit)
	if err := s.done(&s.link.reads, err); err != nil {
		return nil, "", err
	}
	if next == 0 {
		i := slices.Index(addresses, address) + 1
		if i == len(addresses) {
			return ids, "", nil
		}
		address = addresses[i]
	}
	return ids, strings.Join([]string{digest, address, formatCursor(next)}, " "), nil
}

// primaries returns clients of the servers that have slots, by address, and
// the addresses in order.
func primaries(ctx context.Context, client rueidis.Client) (map[string]rueidis.Client, []string, error) {
	nodes := client.Nodes()
	var addresses []string
	for address, node := range nodes {
		role, err := node.Do(ctx, node.B().Role().Build()).ToArray()
		switch {
		case err == nil && len(role) > 0:
			if kind, err := role[0].ToString(); err == nil && kind == "slave" {
				continue
			}
		case !isAnswer(err):
			continue // if it is a primary, its keys can't be had anyway
		}
		// What does not tell is scanned: to list an id twice does no harm.
		addresses = append(addresses, address)
	}
	if len(addresses) == 0 {
		return nil, nil, errors.New("no primary of the Cluster answers")
	}
	slices.Sort(addresses)
	return nodes, addresses, nil
}

func digest(addresses []string) string {
	sum := sha256.Sum256([]byte(strings.Join(addresses, " ")))
	return hex.EncodeToString(sum[:8])
}
