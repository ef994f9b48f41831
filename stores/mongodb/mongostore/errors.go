package mongostore

import (
	"errors"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/caddy-session/caddy-session/session"
)

// answered reports whether the server has sent an error instead of doing what it was
// asked.
func answered(err error) bool {
	_, ok := errors.AsType[mongo.ServerError](err)
	return ok && !mongo.IsNetworkError(err) && !mongo.IsTimeout(err)
}

// retryable is the label of errors after which a driver tries once more, so that an
// attempt before may have been done.
const retryable = "RetryableWriteError"

// outcome returns err as a caller may have it: as session.ErrNotDone too if nothing can
// have been written.
func outcome(err error) error {
	if err == nil {
		return nil
	}
	line := oneLine(err)
	if server, ok := errors.AsType[mongo.ServerError](err); ok && answered(err) && !server.HasErrorLabel(retryable) && !unconfirmed(err) {
		return session.NotDone(line)
	}
	return line
}

// unconfirmed reports whether a write was done, and too few servers have it.
func unconfirmed(err error) bool {
	e, ok := errors.AsType[mongo.WriteException](err)
	return ok && e.WriteConcernError != nil && len(e.WriteErrors) == 0
}

// oneLine returns err with a text that has no line breaks.
func oneLine(err error) error {
	if err == nil || !strings.Contains(err.Error(), "\n") {
		return err
	}
	return lined{err}
}

type lined struct{ error }

func (e lined) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }
func (e lined) Unwrap() error { return e.error }
