package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

var (
	errClosed = errors.New("the store is closed")

	// errNoAnswer is what a connection fails with that was given up.
	errNoAnswer = fmt.Errorf("the server does not answer: %w", context.DeadlineExceeded)
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
