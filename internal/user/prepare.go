package user

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/mongo"
)

// preparation is the progress of Prepare.
type preparation struct {
	done chan struct{} // closed when Prepare has succeeded
	// blocked is set if only an operator can make Prepare succeed.
	blocked atomic.Bool
}

// RequirePreparation makes Create and ChangeEmail wait until Prepare has succeeded. Until then,
// another account may have the same email in another spelling, and a stranger could register that
// email. Call it before the store is used.
func (s *Store) RequirePreparation() { s.preparation = &preparation{done: make(chan struct{})} }

// Prepare creates the unique index on the email, and makes stored emails canonical. If it fails,
// call it again. It must not be called concurrently. Errors: ErrUnavailable; an IndexError if an
// operator has to fix something first.
func (s *Store) Prepare(ctx context.Context) (EmailReport, error) {
	var report EmailReport
	err := s.EnsureEmailIndex(ctx)
	if err == nil {
		report, err = s.FixEmails(ctx)
	}

	if p := s.preparation; p != nil {
		p.blocked.Store(needsOperator(err))
		if err == nil && !p.isDone() {
			close(p.done)
		}
	}

	return report, err
}

// needsOperator reports whether an error is unlikely to go away by itself: MongoDB refuses to create
// the index or to list the emails.
func needsOperator(err error) bool {
	var missing *IndexError
	var refused mongo.ServerError

	return errors.As(err, &missing) || errors.As(err, &refused) && !isTemporary(refused)
}

// Ready is like CheckReady, but also waits until accounts can be found by their emails. While only
// an operator can make Prepare succeed, it returns nil: most accounts work. Errors: ErrUnavailable.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.CheckReady(ctx); err != nil {
		return err
	}
	if s.preparation != nil && s.preparation.blocked.Load() {
		return nil
	}

	return s.awaitPreparation(ctx)
}

// awaitPreparation waits until Prepare has succeeded, at most for the time of one operation.
// Errors: ErrUnavailable.
func (s *Store) awaitPreparation(ctx context.Context) error {
	ctx, cancel := s.db.WithTimeout(ctx)
	defer cancel()

	return s.preparation.wait(ctx)
}

// wait waits until Prepare has succeeded or ctx ends. Errors: ErrUnavailable.
func (p *preparation) wait(ctx context.Context) error {
	if p == nil {
		return nil
	}

	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: stored emails are not canonical yet", ErrUnavailable)
	}
}

func (p *preparation) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
