package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/caddy-session/caddy-session/session"
)

var (
	errClosed = errors.New("the store is closed")

	// errNoAnswer is what a connection fails with that was given up.
	errNoAnswer = fmt.Errorf("the server does not answer: %w", context.DeadlineExceeded)

	// errLeft is what a connection fails with that dialer.giveUp has closed.
	errLeft = errors.New("the server was read-only, so it is looked up again")
)

// publicError returns err fit for a log. A server that does not know a command
// quotes its arguments, which may be a session or a password.
func publicError(err error) error {
	if err == nil {
		return nil
	}
	if text, _, quoted := strings.Cut(err.Error(), ", with args beginning with"); quoted {
		return errors.New(text)
	}
	return err
}

// isAnswer reports whether the error is one that the server sent.
func isAnswer(err error) bool {
	_, ok := errors.AsType[*rueidis.RedisError](err)
	return ok
}

func isWrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}

// isReadOnly reports whether the server is a replica. Before Redis 7 what a
// script fails with is wrapped into an error of its own.
func isReadOnly(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && (strings.HasPrefix(e.Error(), "READONLY ") || strings.Contains(e.Error(), ": -READONLY "))
}

// isLost reports whether a connection broke, so that a new one may work:
// neither an answer nor silence.
func isLost(err error) bool {
	return err != nil && !rueidis.IsRedisNil(err) && !isAnswer(err) && !errors.Is(err, session.ErrNotFound) &&
		!errors.Is(err, context.DeadlineExceeded)
}
