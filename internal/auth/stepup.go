package auth

import (
	"context"
	"errors"

	"latchkey/internal/session"
	"latchkey/internal/user"
)

// StepUp is what a signed-in user proves again. At least one member is set.
type StepUp struct {
	Password string
	Code     *Code
}

// SteppedUp is the result of a step-up.
type SteppedUp struct {
	Session *session.Session
	Token   string
	// RecoveryUsed is set if a recovery code was used, even if the step-up failed afterwards.
	RecoveryUsed bool
}

// StepUp checks the password of a signed-in user, the code of a second factor, or both. It updates the
// times of these methods in the session and gives it a new token (OWASP ASVS 5.0 7.5.1). Errors: the errors
// of CheckPassword and of package session; ErrWrongCode, possibly joined with ErrFactorDisabled;
// ErrNoFactor, ErrFactorsUnavailable.
func (s *Service) StepUp(ctx context.Context, caller Caller, in StepUp) (SteppedUp, error) {
	var result SteppedUp
	var methods []string

	if in.Password != "" {
		if _, err := s.CheckPassword(ctx, caller, in.Password); err != nil {
			return result, err
		}
		methods = append(methods, session.Password)
	}

	if in.Code != nil {
		if err := s.proveSecond(ctx, caller, *in.Code); err != nil {
			return result, err
		}
		methods = append(methods, in.Code.method())
		result.RecoveryUsed = in.Code.Recovery != ""
	}

	var err error
	result.Session, result.Token, err = s.sessions.Reauthenticate(ctx, methods...)

	return result, err
}

// proveSecond checks and uses the code of a second factor of a signed-in user.
func (s *Service) proveSecond(ctx context.Context, caller Caller, code Code) error {
	u, err := s.activeUser(ctx, caller.UserID)
	if err != nil {
		return err
	}
	if !u.HasFactor() {
		return ErrNoFactor
	}

	use, err := s.checkCode(ctx, u, code, caller.Client)
	if err != nil {
		return err
	}

	used, err := s.users.UseFactor(ctx, u, use)
	if errors.Is(err, user.ErrNotFound) {
		return ErrWrongCode // it was used at the same time
	}
	if err == nil && code.Recovery != "" {
		s.notifyOfRecovery(ctx, used, caller.Client)
	}

	return err
}
