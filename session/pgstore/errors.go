package pgstore

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-session/caddy-session/session"
)

// Codes of errors, https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeReadOnly = "25006"
	codeNoTable  = "42P01"
	codeNoRight  = "42501"
)

// oneLine is an error whose text has no line breaks, as those of connecting to
// several hosts have.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.NewReplacer("\n\t", " ", "\n", "; ").Replace(e.error.Error())
}
func (e oneLine) Unwrap() error { return e.error }

// answered returns the code of an error that the server has sent instead of doing
// what it was asked. One that ends the connection does not tell: it may come after
// the commit.
func answered(err error) (code string, ok bool) {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC" {
		return "", false
	}
	return e.Code, true
}

// outcome returns err as a caller may have it: as session.ErrNotDone too if nothing
// can have been written.
func outcome(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := answered(err); ok || pgconn.SafeToRetry(err) {
		return session.NotDone(oneLine{err})
	}
	return oneLine{err}
}
