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

// limit is the context of one command, which ends with the time that it may take. It is
// not cancelled with that of the request, see Client.Do. The connection keeps the
// deadline, so there is a timer only where someone has to wait for something else: one
// for each command would cost more than all else that is done for it here.
type limit struct {
	context.Context // of the request, for its values
	deadline        time.Time
	whole           bool    // it is no shorter than that of other commands
	budget          *budget // nil is none

	mu    sync.Mutex
	timer context.Context // nil until someone waits
	stop  context.CancelFunc
}

// limited returns the limit of a command that starts now. Call done at its end.
func limited(ctx context.Context) *limit {
	l, now, may := &limit{Context: ctx}, time.Now(), commandTimeout
	if l.budget, _ = ctx.Value(budgetKey{}).(*budget); l.budget != nil {
		may = min(may, l.budget.enter(now))
	}
	l.deadline, l.whole = now.Add(may), may == commandTimeout
	return l
}

func (l *limit) done() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.stop()
	}
	if l.budget != nil {
		l.budget.leave(time.Now())
	}
}

// Deadline implements context.Context.
func (l *limit) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *limit) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		l.timer, l.stop = context.WithDeadline(context.WithoutCancel(l.Context), l.deadline)
	}
	return l.timer.Done()
}

// Err implements context.Context.
func (l *limit) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.timer != nil:
		return l.timer.Err()
	case time.Now().Before(l.deadline):
		return nil
	}
	return context.DeadlineExceeded
}

// enter notes that a command starts now and returns the time that it may take.
func (b *budget) enter(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay++; b.underWay == 1 {
		b.since = now
	}
	return b.left - now.Sub(b.since)
}

func (b *budget) leave(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.underWay--; b.underWay == 0 {
		b.left -= now.Sub(b.since)
	}
}
