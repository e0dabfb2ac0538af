package auth

import (
	"errors"
	"log/slog"
	"time"

	"latchkey/internal/datakey"
	"latchkey/internal/hashpool"
	"latchkey/internal/mail"
	"latchkey/internal/pending"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

var (
	// ErrBadCredentials is returned when a user cannot be signed in. The error is the same
	// for an unknown email, a wrong password and a disabled account, so that it does not
	// reveal which emails have an account (OWASP ASVS 5.0 6.3.8).
	ErrBadCredentials = errors.New("invalid credentials")

	// ErrWrongPassword is returned when a signed-in user enters a wrong password.
	ErrWrongPassword = errors.New("wrong password")

	// ErrNoPassword is returned when a signed-in user has to enter a password, but the
	// account has none.
	ErrNoPassword = errors.New("account has no password")

	// ErrHasPassword is returned when a password is added to an account that has one.
	ErrHasPassword = errors.New("account already has a password")

	// ErrInvalidToken is returned for a one-time token that is unknown, used or expired, or
	// that was voided by a newer token or by a change of the account.
	ErrInvalidToken = errors.New("invalid token")

	// ErrBusy is returned when passwords arrive faster than this machine can hash them.
	ErrBusy = hashpool.ErrBusy
)

// MinPasswordLength is the minimum length of a new password in characters (Unicode code points;
// OWASP ASVS 5.0 6.2.1). Rules may require more characters, but not fewer.
const MinPasswordLength = 8

// MaxPasswordLength is the maximum length of a password in characters. It only limits the
// cost of hashing; OWASP ASVS 5.0 6.2.9 requires at least 64.
const MaxPasswordLength = 1024

// Options are the settings of a Service.
type Options struct {
	// Rules are the rules for new passwords.
	Rules Rules

	// Registration decides who may create an account.
	Registration RegistrationPolicy

	// Sender sends the emails that wait in Queue. If it is nil, no email is sent.
	Sender mail.Sender
	Queue  *mail.Queue

	// Composer renders the emails.
	Composer *mail.Composer

	// MailInterval is the minimum time between two emails of the same kind that contain a
	// link, per recipient.
	MailInterval time.Duration

	// BaseURL is the URL of the pages that links in emails lead to, without a trailing slash.
	BaseURL string

	// ResetMaxAge and VerifyMaxAge are the lifetimes of these links.
	ResetMaxAge  time.Duration
	VerifyMaxAge time.Duration

	// InvitationMaxAge is the lifetime of invitations.
	InvitationMaxAge time.Duration

	// Providers are the external providers that users can sign in with.
	Providers []Provider

	// MFA determines which accounts need a second factor. "" means MFAEnrolled.
	MFA MFAMode

	// DataKeys encrypt the seeds of authenticator apps. If it has no keys, none can be set up.
	DataKeys *datakey.Keyring

	// Pending keeps the logins that wait for a second factor.
	Pending *pending.Store

	// Issuer is the name of the product in authenticator apps.
	Issuer string

	// Limiter counts wrong passwords.
	Limiter *ratelimit.Limiter

	// Now is the clock. The default is time.Now.
	Now func() time.Time

	Log *slog.Logger
}

// Provider is an external provider that users can sign in with.
type Provider struct {
	Name   string // as in the settings
	Title  string // as shown to users
	Issuer string // the issuer of its identities
}

// Service signs users in and changes their credentials. It is safe for concurrent use.
type Service struct {
	users    *user.Store
	sessions *session.Manager
	hasher   *hashpool.Pool
	options  Options
	log      *slog.Logger
}

// New returns a Service for the accounts in users and the sessions in sessions.
func New(users *user.Store, sessions *session.Manager, hasher *hashpool.Pool, o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}

	return &Service{
		users:    users,
		sessions: sessions,
		hasher:   hasher,
		options:  o,
		log:      o.Log,
	}
}
