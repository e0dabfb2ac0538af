package activity

import (
	"log/slog"
	"strings"
	"time"
	"unicode"

	"go.mongodb.org/mongo-driver/bson/primitive"
)

// Name says what happened. It stands in the log, in the collection and in the API, so
// that a name that was released is never given another meaning.
type Name string

// The names of all events.
const (
	// Registered is a new account.
	Registered Name = "registered"
	// Login is a session that began with a proof of who it is.
	Login Name = "login"
	// LoginFailed is such a proof that was wrong, or of an account that may not log in.
	LoginFailed Name = "login_failed"
	// Logout is a session that its own client ended.
	Logout Name = "logout"
	// SessionRotated is a session that was given another token.
	SessionRotated Name = "session_rotated"
	// SessionRevoked is a session that was ended from another one, or by an operator.
	SessionRevoked Name = "session_revoked"
	// SessionsRevoked is several of them at once: Event.Count says how many.
	SessionsRevoked Name = "sessions_revoked"
	// PasswordChanged is a new password by who knew the old one.
	PasswordChanged Name = "password_changed"
	// PasswordChangeFailed is a wrong password where the old one was asked for.
	PasswordChangeFailed Name = "password_change_failed"
	// PasswordResetAsked is a letter for who has forgotten the password.
	PasswordResetAsked Name = "password_reset_asked"
	// PasswordReset is a new password by who had that letter.
	PasswordReset Name = "password_reset"
	// PasswordResetFailed is a ticket for it that was wrong, used or too old.
	PasswordResetFailed Name = "password_reset_failed"
	// EmailVerified is an address that was shown to be the user's.
	EmailVerified Name = "email_verified"
	// EmailVerifyFailed is a ticket for it that was wrong, used or too old.
	EmailVerifyFailed Name = "email_verify_failed"
	// EmailVerifyAsked is a letter to an address that is to be verified.
	EmailVerifyAsked Name = "email_verify_asked"
	// EmailChangeAsked is a letter to an address that is to take the place of another.
	EmailChangeAsked Name = "email_change_asked"
	// EmailChanged is another address of the account.
	EmailChanged Name = "email_changed"
	// StepUp is a signed-in user who proved again who they are.
	StepUp Name = "step_up"
	// StepUpFailed is such a proof that was wrong.
	StepUpFailed Name = "step_up_failed"
	// AccountDeleted is an account that is gone.
	AccountDeleted Name = "account_deleted"
	// AccountDisabled is an account that may not log in any more.
	AccountDisabled Name = "account_disabled"
	// AccountEnabled is one that may again.
	AccountEnabled Name = "account_enabled"
	// LimitHit is a request that was refused because there were too many.
	LimitHit Name = "limit_hit"
	// CrossOriginDenied is a request that another site's page made a browser send.
	CrossOriginDenied Name = "cross_origin_denied"
	// IdentityLinked is an account elsewhere that signs in to the user's from now on.
	IdentityLinked Name = "identity_linked"
	// IdentityUnlinked is one that does not any more.
	IdentityUnlinked Name = "identity_unlinked"
	// AccountClaimed is an account that went from whoever had made it to the owner of its
	// address.
	AccountClaimed Name = "account_claimed"
	// ProfileUpdated is a change of what a user says about themselves.
	ProfileUpdated Name = "profile_updated"
)

// Names are all names, in the order above.
var Names = []Name{
	Registered, Login, LoginFailed, Logout, SessionRotated, SessionRevoked, SessionsRevoked,
	PasswordChanged, PasswordChangeFailed, PasswordResetAsked, PasswordReset, PasswordResetFailed,
	EmailVerified, EmailVerifyFailed, EmailVerifyAsked, EmailChangeAsked, EmailChanged,
	StepUp, StepUpFailed, AccountDeleted, AccountDisabled, AccountEnabled,
	LimitHit, CrossOriginDenied, IdentityLinked, IdentityUnlinked, AccountClaimed, ProfileUpdated,
}

// level is Warn for what an attack looks like from inside (OWASP ASVS 5.0 16.3).
func (n Name) level() slog.Level {
	if n == LimitHit || n == CrossOriginDenied || strings.HasSuffix(string(n), "_failed") {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Event is one thing that happened. Members that are not known are empty. None of
// them may hold a secret, a token, a password, an email address or a body.
type Event struct {
	// ID is 24 hexadecimal digits. The Recorder sets it.
	ID string
	// At is when it happened, in UTC with milliseconds; the zero time becomes the time
	// of Record.
	At   time.Time
	Name Name
	// UserID is whose account it is about; "" where nobody is known. An event without
	// it is in no user's list.
	UserID string
	// SessionID is the handle of the session, which is not a secret.
	SessionID string
	RequestID string
	Route     string // the pattern, as "POST /auth/login"
	IP        string
	UserAgent string
	Device    string // the user agent in words
	Origin    string // of the page that made a browser send the request
	Provider  string // of an account elsewhere, by its name in the settings
	NewDevice bool   // the user was not seen on it before
	// By is who did it: "" the client of the request, "operator" someone with a shell.
	By string
	// Count is how many sessions ended, where it can be several.
	Count int
}

// IsID tells whether a text has the form of an Event's ID.
func IsID(s string) bool {
	_, err := primitive.ObjectIDFromHex(s)
	return err == nil
}

// maxText is how much of a text is kept, in bytes.
const maxText = 256

// cleaned makes every text of the event fit to be shown: much of it is what a client
// sent. Log handlers escape, but the collection is read by terminals and pages, too.
func (e Event) cleaned() Event {
	for _, text := range []*string{&e.UserID, &e.SessionID, &e.RequestID, &e.Route, &e.IP, &e.UserAgent, &e.Device, &e.Origin, &e.Provider, &e.By} {
		*text = clean(*text)
	}
	return e
}

// clean cuts s to maxText bytes of valid UTF-8 and drops what is not printed: control
// characters, with which a log line is forged or a terminal driven, line separators
// (U+2028), and what turns the direction of writing (U+202E).
func clean(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s[:min(len(s), maxText)], "") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// attrs are those of the log line. What is empty is left out.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("event", string(e.Name)), slog.String("eventId", e.ID)}
	for _, text := range []struct{ key, value string }{
		{"userId", e.UserID}, {"sessionId", e.SessionID}, {"requestId", e.RequestID}, {"route", e.Route},
		{"ip", e.IP}, {"userAgent", e.UserAgent}, {"device", e.Device}, {"origin", e.Origin}, {"provider", e.Provider}, {"by", e.By},
	} {
		if text.value != "" {
			attrs = append(attrs, slog.String(text.key, text.value))
		}
	}
	if e.NewDevice {
		attrs = append(attrs, slog.Bool("newDevice", true))
	}
	if e.Count != 0 {
		attrs = append(attrs, slog.Int("count", e.Count))
	}
	return attrs
}
