package auth

import (
	"context"
	"errors"
	"log/slog"

	"latchkey/internal/user"
)

// ErrBadCredentials says that no account matches. It is one error for an unknown
// address, a wrong password and a disabled account, so that nobody learns which
// (OWASP ASVS 5.0 6.3.8).
var ErrBadCredentials = errors.New("invalid credentials")

// MinPasswordLength is the least characters (Unicode code points) of a new
// password (OWASP ASVS 5.0 6.2.1).
const MinPasswordLength = 8

// MaxPasswordLength is the most characters of a password. It bounds the work of
// hashing only; ASVS 5.0 6.2.9 asks for at least 64.
const MaxPasswordLength = 1024

// Service checks passwords against the accounts.
type Service struct {
	users  *user.Store
	hasher hasher
	log    *slog.Logger
}

// New returns a Service that hashes with bcrypt at cost, from 4 to 14.
func New(users *user.Store, cost int, log *slog.Logger) *Service {
	return &Service{users: users, hasher: newHasher(cost), log: log}
}

// Register makes an account. Errors: user.ErrEmailTaken, user.ErrUnavailable.
func (s *Service) Register(ctx context.Context, name string, email user.Email, password string) (user.User, error) {
	hash, err := s.hasher.hash(password)
	if err != nil {
		return user.User{}, err
	}
	return s.users.Create(ctx, name, email, hash)
}

// SetPassword gives an account another password, for an operator. The sessions that
// it has must be ended. Errors: user.ErrNotFound, user.ErrUnavailable.
func (s *Service) SetPassword(ctx context.Context, id, password string) (user.User, error) {
	hash, err := s.hasher.hash(password)
	if err != nil {
		return user.User{}, err
	}
	return s.users.SetPassword(ctx, id, hash)
}

// Unregister takes back a Register of a moment ago whose session could not
// begin, so that the same form can be sent again. Errors: user.ErrUnavailable.
func (s *Service) Unregister(ctx context.Context, id string) error {
	return s.users.Delete(ctx, id)
}
