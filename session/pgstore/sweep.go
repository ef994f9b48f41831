package pgstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
)

const (
	// sweepInterval is how often what has expired is removed.
	sweepInterval = time.Minute

	// sweepSize is how many rows of each table one transaction removes.
	sweepSize = 1000

	// sweepTimeout is how long that may take.
	sweepTimeout = 10 * time.Second
)

// sweepAgainAndAgain removes what has expired until the link is closed.
func (l *link) sweepAgainAndAgain() {
	ctx := l.breaker.Context()
	for {
		select {
		case <-time.After(sweepInterval/2 + rand.N(sweepInterval)):
		case <-ctx.Done():
			return
		}
		for l.breaker.Ready(ctx) == nil {
			more, err := l.sweep()
			if err != nil && ctx.Err() == nil {
				l.cfg.logger.Warn("postgres could not remove what has expired", zap.Error(oneLine{err}))
			}
			if !more || err != nil {
				break
			}
		}
	}
}

// sweep removes a slice of what has expired, and reports whether there is more. It
// does nothing while another Caddy does it, and leaves out what somebody else has
// locked.
func (l *link) sweep() (more bool, err error) {
	ctx, cancel := context.WithTimeout(l.breaker.Context(), sweepTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		sql := statementsFor(l.cfg.table)
		var mine bool
		if err := tx.QueryRow(ctx, sql.sweepLock, "sweep of "+l.cfg.table).Scan(&mine); err != nil || !mine {
			return err
		}
		for _, statement := range []string{sql.sweep, sql.sweepIndex} {
			tag, err := tx.Exec(ctx, statement, sweepSize)
			if err != nil {
				return err
			}
			more = more || tag.RowsAffected() == sweepSize
		}
		return nil
	})
	return more, err
}
