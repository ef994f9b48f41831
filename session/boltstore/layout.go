package boltstore

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	bolt "go.etcd.io/bbolt"
)

// format is the version of the file's layout, which the package comment draws.
const format = 1

var (
	bucketMeta      = []byte("meta")
	bucketSessions  = []byte("sessions")
	bucketExpiry    = []byte("expiry")
	bucketUnclaimed = []byte("unclaimed")
	bucketIndex     = []byte("index")

	keyFormat = []byte("format")
	keyCount  = []byte("count")
	keyBytes  = []byte("bytes")
)

// expirySize is the size of an expiry, in keys and in values.
const expirySize = 8

// checkSizes refuses what has no place in the file. One bad key would undo the
// whole transaction, with everybody else's operations.
func checkSizes(id, key string) error {
	if id == "" {
		return errors.New("the id is empty")
	}
	if len(id)+len(key)+expirySize > bolt.MaxKeySize {
		return errors.New("the id and the index key are too long")
	}
	return nil
}

// toMilli returns t in Unix milliseconds, rounded down: nothing lives longer
// than it was given.
func toMilli(t time.Time) int64 { return max(t.UnixMilli(), 0) }

func appendNumber(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n))
}

// parseNumber returns false if b is not a number as appendNumber writes them.
func parseNumber(b []byte) (n int64, ok bool) {
	if len(b) != 8 {
		return 0, false
	}
	u := binary.BigEndian.Uint64(b)
	return int64(u), u <= math.MaxInt64
}

// appendStored returns what is stored under an id. It has its own memory.
func appendStored(expiry int64, value []byte) []byte {
	b := make([]byte, 0, expirySize+len(value))
	return append(appendNumber(b, expiry), value...)
}

// parseStored takes apart what is stored under an id. It returns false if that
// is nothing, or not ours. The value is not a copy.
func parseStored(b []byte) (expiry int64, value []byte, ok bool) {
	if len(b) < expirySize {
		return 0, nil, false
	}
	expiry, ok = parseNumber(b[:expirySize])
	return expiry, b[expirySize:], ok
}

func expiryKey(expiry int64, id []byte) []byte {
	b := make([]byte, 0, expirySize+len(id))
	return append(appendNumber(b, expiry), id...)
}

// indexKey begins with the key's length, so that no key is the beginning of
// another, whatever bytes they are made of.
func indexKey(key, id string) []byte {
	b := make([]byte, 0, 2+len(key)+len(id))
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return append(b, id...)
}
