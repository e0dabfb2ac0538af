package auth

import (
	"context"

	"latchkey/internal/user"
)

// Prove checks the password of someone who is signed in (OWASP ASVS 5.0 7.5.1).
// Errors: ErrWrongPassword, ErrNoPassword, ErrBusy, user.ErrNotFound for an account that is gone or
// disabled, user.ErrUnavailable.
func (s *Service) Prove(ctx context.Context, userID, password string) (user.User, error) {
	u, err := s.users.ByID(ctx, userID)
	if err != nil {
		return user.User{}, err
	}
	if !u.Active {
		return user.User{}, user.ErrNotFound
	}
	if u.PasswordHash == "" {
		return user.User{}, ErrNoPassword
	}
	ok, _, err := s.verify(ctx, u, password)
	if err != nil {
		return user.User{}, err
	}
	if !ok {
		return user.User{}, ErrWrongPassword
	}
	return u, nil
}
