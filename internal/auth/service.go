package auth

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"latchkey/internal/mail"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

var (
	// ErrBadCredentials says that no account matches. It is one error for an unknown
	// address, a wrong password and a disabled account, so that nobody learns which
	// (OWASP ASVS 5.0 6.3.8).
	ErrBadCredentials = errors.New("invalid credentials")
	// ErrWrongPassword says that the password is not that of the account that the
	// caller is signed in to.
	ErrWrongPassword = errors.New("wrong password")
	// ErrNoPassword says that the account that the caller is signed in to has none.
	ErrNoPassword = errors.New("no password")
	// ErrHasPassword says that it has one already.
	ErrHasPassword = errors.New("has a password")
	// ErrInvalidToken says that a one-time token is none of ours, was used, has expired,
	// or is void because a newer one or a change of the account took its place.
	ErrInvalidToken = errors.New("invalid token")
)

// MinPasswordLength is the least characters (Unicode code points) of a new
// password (OWASP ASVS 5.0 6.2.1).
const MinPasswordLength = 8

// MaxPasswordLength is the most characters of a password. It bounds the work of
// hashing only; ASVS 5.0 6.2.9 asks for at least 64.
const MaxPasswordLength = 1024

// Options are the settings of a Service.
type Options struct {
	// Cost is that of bcrypt, from 4 to 14.
	Cost int
	// Rules judge new passwords.
	Rules Rules
	// Sender sends the mails, which wait in Queue. Where it is nil there are none.
	Sender mail.Sender
	Queue  *mail.Queue
	// MailInterval is the least time between two mails with a link to one address.
	MailInterval time.Duration
	// Link is where the pages are that the links in mails lead to, without a slash at
	// the end.
	Link string
	// ResetMaxAge and VerifyMaxAge are how long the links are good.
	ResetMaxAge, VerifyMaxAge time.Duration
	// Providers are those to sign in with.
	Providers []Provider
	// Now is the clock; nil is time.Now.
	Now     func() time.Time
	Metrics *telemetry.Metrics
	Log     *slog.Logger
}

// Provider is one by whose word people log in.
type Provider struct {
	Name   string // in the settings
	Title  string // for people
	Issuer string // that its identities are known by
}

// Service checks passwords against the accounts, and changes what proves who someone
// is. Close it at the end.
type Service struct {
	users   *user.Store
	hasher  hasher
	pool    *pool
	options Options
	log     *slog.Logger
}

// New returns a Service on the accounts.
func New(users *user.Store, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	hashing := newPool(defaultSlots(), maxHashWait)
	hashing.metrics = o.Metrics
	return &Service{users: users, hasher: newHasher(o.Cost, hashing), pool: hashing, options: o, log: o.Log}
}

// Close ends the threads that hash.
func (s *Service) Close() { s.pool.close() }

// Waiting is how many passwords wait to be hashed.
func (s *Service) Waiting() int { return s.pool.waiting() }

// Hashes is how many passwords were hashed or compared since the start.
func (s *Service) Hashes() uint64 { return s.pool.done.Load() }

// Register makes an account. Errors: a WeakPasswordError, ErrBusy,
// user.ErrEmailTaken, user.ErrUnavailable.
func (s *Service) Register(ctx context.Context, name string, email user.Email, password string) (user.User, error) {
	u := user.User{Name: name, Email: email}
	var err error
	if u.PasswordHash, err = s.newHash(ctx, u, password); err != nil {
		return user.User{}, err
	}
	return s.users.Create(ctx, u)
}

// Unregister takes back a Register of a moment ago whose session could not
// begin, so that the same form can be sent again. Errors: user.ErrUnavailable.
func (s *Service) Unregister(ctx context.Context, id string) error {
	return s.users.Delete(ctx, id)
}
