package session

import "encoding/hex"

// The first bytes of every record: the format's name, a space, the version of
// the record as 16 lower-case hex digits, a space.
//
//	cs1 000000000000002a ...
//
// They have a fixed length so that a store can compare versions without
// decoding a record (the Redis store does it in a script).
const (
	headFormat = "cs1 "

	// HeadSize is the length of a record's head in bytes.
	HeadSize = len(headFormat) + 16 + 1
)

// AppendHead appends the head of a record at this version.
func AppendHead(dst []byte, version uint64) []byte {
	var v [8]byte
	for i := range v {
		v[i] = byte(version >> (56 - 8*i))
	}
	dst = append(dst, headFormat...)
	dst = hex.AppendEncode(dst, v[:])
	return append(dst, ' ')
}

// ParseHead returns the version in the head of a record, and false if value
// does not begin with a head. It is strict: upper-case digits are refused.
func ParseHead(value []byte) (version uint64, ok bool) {
	if len(value) < HeadSize || string(value[:len(headFormat)]) != headFormat || value[HeadSize-1] != ' ' {
		return 0, false
	}
	for _, c := range value[len(headFormat) : HeadSize-1] {
		var d byte
		switch {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c && c <= 'f':
			d = c - 'a' + 10
		default:
			return 0, false
		}
		version = version<<4 | uint64(d)
	}
	return version, true
}
