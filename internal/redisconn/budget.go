package redisconn

import (
	"context"
	"sync"
	"time"
)

// A request may need several commands, each within its own limit, and must be
// answered within a second all the same. So the request has a budget: the time that
// it may wait for Redis in all. What it does between two commands, as hashing a
// password, is not counted.
type budget struct {
	mu       sync.Mutex
	left     time.Duration
	underWay int       // commands
	since    time.Time // when the first of those started
}

type budgetKey struct{}

// WithBudget returns a context whose commands may take d in all. Commands side by
// side count once.
func WithBudget(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, budgetKey{}, &budget{left: d})
}

// limited returns the context of one command, which ends with the time that it may
// take. It is not cancelled with ctx, see Client.Do.
func limited(ctx context.Context) (context.Context, func()) {
	limit := commandTimeout
	b, ok := ctx.Value(budgetKey{}).(*budget)
	if ok {
		limit = min(limit, b.enter())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	return ctx, func() {
		cancel()
		if ok {
			b.leave()
		}
	}
}

// enter notes that a command starts and returns the time that it may take.
func (b *budget) enter() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay++; b.underWay == 1 {
		b.since = time.Now()
	}
	return b.left - time.Since(b.since)
}

func (b *budget) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay--; b.underWay == 0 {
		b.left -= time.Since(b.since)
	}
}
