package redisstore

import (
	"strconv"

	"github.com/caddy-session/caddy-session/session"
	"github.com/redis/rueidis"
)

// The scripts that write only what they have compared. KEYS[1] is the
// session's key and ARGV[1] the head that its value must begin with. They
// return 1 if they wrote, else conflict or notFound: none of them ever makes a
// key.
const (
	read = `
local head = redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[1] - 1)
if type(head) == 'table' then
  if string.find(head.err, 'WRONGTYPE', 1, true) then return 0 end
  return head
end
if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then `
	judge = ` return -1 end
if head ~= ARGV[1] then return 0 end
`
	compare      = read + judge
	putScript    = compare + `redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1`
	touchScript  = compare + `redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1`
	deleteScript = compare + `redis.call('DEL', KEYS[1]) return 1`
)

// The same for WAIT to follow. Since Redis 7.2 it covers the last write of its
// connection rather than all that the server has written, so one that finds
// nothing to do writes all the same: an attempt before may have done it, and
// nobody knows yet whether the replicas have that. Nobody ever sees the key.
// Tried on Redis 7.0 and 8.0 and Valkey 8.0.
const (
	markScript          = `redis.call('SET', KEYS[1], '', 'PX', 1) redis.call('DEL', KEYS[1]) return 1`
	removeDurably       = `if redis.call('DEL', KEYS[1]) == 1 then return 1 end ` + markScript
	deleteDurablyScript = read + `redis.call('SET', KEYS[1], '', 'PX', 1) redis.call('DEL', KEYS[1])` + judge + `redis.call('DEL', KEYS[1]) return 1`
)

const (
	conflict = 0
	notFound = -1
)

// indexScript files ARGV[1] under KEYS[1] until ARGV[2], in unix milliseconds,
// or as long as it is filed already, and forgets whoever's time has come. That a
// Put with a sooner deadline may fail is why it never shortens. The server's
// clock decides, because
// those of its clients may differ.
const indexScript = `
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
local now = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000)
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if last[2] then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2]))) end
return 1
`

// Exec sends the digest, and the script itself to a server that has forgotten it.
var (
	putLua    = rueidis.NewLuaScript(putScript)
	touchLua  = rueidis.NewLuaScript(touchScript)
	deleteLua = rueidis.NewLuaScript(deleteScript)
)

// create is the command that makes a session's key if there is none.
func create(client rueidis.Client, key, value string, ttl int64) rueidis.Completed {
	return client.B().Set().Key(key).Value(value).Nx().PxMilliseconds(ttl).Build()
}

// update is putScript in full, for a pipeline. There a digest that the server
// has forgotten would fail alone, out of its turn.
func update(client rueidis.Client, key string, expect uint64, value string, ttl int64) rueidis.Completed {
	return client.B().Eval().Script(putScript).Numkeys(1).Key(key).Arg(head(expect), value, decimal(ttl)).Build()
}

// mark is a command that changes nothing and yet is sent to replicas.
func mark(client rueidis.Client, key string) rueidis.Completed {
	return client.B().Eval().Script(markScript).Numkeys(1).Key(key).Build()
}

// outcome translates the answers of the scripts and of SET NX, which is nil if
// the key is there.
func outcome(res rueidis.RedisResult) error {
	msg, err := res.ToMessage()
	if rueidis.IsRedisNil(err) {
		return session.ErrConflict
	}
	if err != nil || !msg.IsInt64() {
		return err
	}
	switch n, err := msg.ToInt64(); {
	case err != nil:
		return err
	case n == conflict:
		return session.ErrConflict
	case n == notFound:
		return session.ErrNotFound
	}
	return nil
}

// head is what the value of a session at this version begins with.
func head(version uint64) string {
	return string(session.AppendHead(make([]byte, 0, session.HeadSize), version))
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
