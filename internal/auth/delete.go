package auth

import (
	"context"

	"latchkey/internal/mail"
	"latchkey/internal/user"
)

// Delete removes an account and tells its owner. With an error of end after that, the
// account is returned as well. Errors: user.ErrNotFound,
// user.ErrUnavailable, those of end.
func (s *Service) Delete(ctx context.Context, userID string, from Origin, end EndSessions) (user.User, error) {
	u, err := s.users.ByID(ctx, userID)
	if err != nil {
		return user.User{}, err
	}
	return s.around(ctx, userID, end, func() (user.User, error) {
		return u, s.users.Delete(ctx, userID)
	}, func(u user.User) { s.tell(ctx, mail.AccountDeleted, u, from) })
}
