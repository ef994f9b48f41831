// Package logging has what log lines about requests have in common.
package logging

import (
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Request tells which request a line is about, by the path that the browser has asked
// for, without the query, which may hold secrets.
func Request(r *http.Request, path string) zap.Field {
	return zap.Dict("request", zap.String("method", r.Method), zap.String("host", r.Host), zap.String("path", path))
}

// Repeated is a line that visitors or an application can have logged again and
// again. About the same thing, at most one is written in a second, and about
// different ones, at most maxLines; the next line says how many were left out. The
// zero value is ready, and may be used by many goroutines.
type Repeated struct {
	mu    sync.Mutex
	since time.Time // when the second began
	about map[string]struct{}
	left  int
}

// maxLines bounds the lines of a second, or those of a Once: paths, for example, are
// the visitor's choice.
const maxLines = 50

// Log writes the line, unless it was written about the same in this second.
func (r *Repeated) Log(write func(message string, fields ...zap.Field), message, about string, fields ...zap.Field) {
	left, ok := r.allow(about, time.Now())
	if !ok {
		return
	}
	if left > 0 {
		fields = append(fields, zap.Int("left_out", left))
	}
	write(message, fields...)
}

// Once is a line that is written once about the same thing, and about maxLines
// different ones. The zero value is ready, and may be used by many goroutines.
type Once struct {
	mu    sync.Mutex
	about map[string]struct{}
}

// Log writes the line, unless it was written about the same.
func (o *Once) Log(write func(message string, fields ...zap.Field), message, about string, fields ...zap.Field) {
	if o.first(about) {
		write(message, fields...)
	}
}

func (o *Once) first(about string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, again := o.about[about]; again || len(o.about) == maxLines {
		return false
	}
	if o.about == nil {
		o.about = map[string]struct{}{}
	}
	o.about[about] = struct{}{}
	return true
}

func (r *Repeated) allow(about string, now time.Time) (left int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= time.Second || r.about == nil {
		r.since, r.about = now, map[string]struct{}{}
	}
	if _, again := r.about[about]; again || len(r.about) == maxLines {
		r.left++
		return 0, false
	}
	r.about[about] = struct{}{}
	left, r.left = r.left, 0
	return left, true
}
