// Package cancel has a context that can be cancelled and costs nothing until
// somebody waits for that. Most handlers never do.
package cancel

import (
	"context"
	"sync"
	"sync/atomic"
)

// Context is a context with a parent and a Cancel of its own. The zero value is
// of no use before Init. It must not be copied.
type Context struct {
	context.Context // the parent

	mu        sync.Mutex
	cancelled bool
	child     context.Context // nil until somebody waits
	cancel    context.CancelFunc
	made      atomic.Pointer[context.Context] // to child
}

// Init sets the parent.
func (c *Context) Init(parent context.Context) { c.Context = parent }

// Parent returns what Init was given.
func (c *Context) Parent() context.Context { return c.Context }

// Cancel ends the context, like a [context.CancelFunc]. Whoever has called Init
// has to call it at last.
func (c *Context) Cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancelled = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
	if child := c.made.Load(); child != nil {
		return (*child).Done()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.child == nil {
		c.child, c.cancel = context.WithCancel(c.Context)
		if c.cancelled {
			c.cancel()
		}
		c.made.Store(&c.child)
	}
	return c.child.Done()
}

// Err implements [context.Context].
func (c *Context) Err() error {
	if child := c.made.Load(); child != nil {
		return (*child).Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancelled {
		return context.Canceled
	}
	return c.Context.Err()
}

// Value implements [context.Context]. It is how package context finds out that
// the child is one of its own, whose children need no goroutines.
func (c *Context) Value(key any) any {
	if child := c.made.Load(); child != nil {
		return (*child).Value(key)
	}
	return c.Context.Value(key)
}
