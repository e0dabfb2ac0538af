package activity

import (
	"crypto/sha256"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"go.mongodb.org/mongo-driver/bson/primitive"
)

// Name is the name of an event. It appears in the log, the collection and the API, so the meaning
// of a released name must not change.
type Name string

// The names of the events. The suffix _failed means that the password or token was wrong,
// used or expired, or that the account is disabled.
const (
	Registered             Name = "registered"
	Login                  Name = "login" // a user signed in and got a session
	LoginFailed            Name = "login_failed"
	Logout                 Name = "logout"
	SessionRotated         Name = "session_rotated"  // the session has a new token
	SessionRevoked         Name = "session_revoked"  // by another session or an operator
	SessionsRevoked        Name = "sessions_revoked" // Event.Count is the number of sessions
	PasswordChanged        Name = "password_changed" // by a user who knows the current one
	PasswordChangeFailed   Name = "password_change_failed"
	PasswordResetRequested Name = "password_reset_requested"
	PasswordReset          Name = "password_reset" // with a link from an email
	PasswordResetFailed    Name = "password_reset_failed"
	EmailVerified          Name = "email_verified"
	EmailVerifyFailed      Name = "email_verify_failed"
	EmailVerifyRequested   Name = "email_verify_requested"
	EmailChangeRequested   Name = "email_change_requested"
	EmailChanged           Name = "email_changed"
	StepUp                 Name = "step_up" // a signed-in user authenticated again
	StepUpFailed           Name = "step_up_failed"
	AccountDeleted         Name = "account_deleted"
	AccountExpired         Name = "account_expired" // deleted, because the email was not verified in time
	AccountDisabled        Name = "account_disabled"
	AccountEnabled         Name = "account_enabled"
	LimitHit               Name = "limit_hit"           // a request was rate-limited
	CrossOriginDenied      Name = "cross_origin_denied" // a page on another site sent a request
	IdentityLinked         Name = "identity_linked"     // an external account was linked
	IdentityUnlinked       Name = "identity_unlinked"
	AccountClaimed         Name = "account_claimed" // the owner of the email took over an unverified account
	ProfileUpdated         Name = "profile_updated"
	Invited                Name = "invited" // an operator invited somebody to register
	InvitationWithdrawn    Name = "invitation_withdrawn"
	InvitationFailed       Name = "invitation_failed"   // a registration with the token of an invitation
	PasswordRestricted     Name = "password_restricted" // after too many wrong passwords: see auth.MaxFailures
	FactorAdded            Name = "factor_added"        // an authenticator app
	FactorRemoved          Name = "factor_removed"
	FactorRenamed          Name = "factor_renamed"
	FactorFailed           Name = "factor_failed"   // a wrong code at a login
	FactorDisabled         Name = "factor_disabled" // after too many wrong codes
	RecoveryCodesCreated   Name = "recovery_codes_created"
	RecoveryCodeUsed       Name = "recovery_code_used" // instead of a code from an authenticator app
	FactorsReset           Name = "factors_reset"      // an operator removed the second factors
	DeviceTrusted          Name = "device_trusted"     // logins from it need no second factor
	DeviceUntrusted        Name = "device_untrusted"
	SecondFactorRequested  Name = "second_factor_requested" // a login has proved the first factor
)

// Names lists all names in the order of their declaration.
var Names = []Name{
	Registered, Login, LoginFailed, Logout, SessionRotated, SessionRevoked, SessionsRevoked,
	PasswordChanged, PasswordChangeFailed, PasswordResetRequested, PasswordReset, PasswordResetFailed,
	EmailVerified, EmailVerifyFailed, EmailVerifyRequested, EmailChangeRequested, EmailChanged,
	StepUp, StepUpFailed, AccountDeleted, AccountExpired, AccountDisabled, AccountEnabled,
	LimitHit, CrossOriginDenied, IdentityLinked, IdentityUnlinked, AccountClaimed, ProfileUpdated,
	Invited, InvitationWithdrawn, InvitationFailed, PasswordRestricted,
	FactorAdded, FactorRemoved, FactorRenamed, FactorFailed, FactorDisabled, RecoveryCodesCreated, RecoveryCodeUsed,
	FactorsReset, DeviceTrusted, DeviceUntrusted, SecondFactorRequested,
}

// level returns the log level: Warn for events that may be part of an attack (OWASP ASVS 5.0
// 16.3).
func (n Name) level() slog.Level {
	switch n {
	case LimitHit, CrossOriginDenied, PasswordRestricted, FactorDisabled, RecoveryCodeUsed:
		return slog.LevelWarn
	}
	if strings.HasSuffix(string(n), "_failed") {
		return slog.LevelWarn
	}

	return slog.LevelInfo
}

// Event is a security event. Unknown fields are empty and not stored. No field may contain a
// secret, a token, a password, an email address or a request body.
type Event struct {
	// ID has 24 hexadecimal digits. The Recorder sets it.
	ID string `bson:"-"`
	// At is when the event happened, in UTC with a precision of milliseconds. The default is the
	// time when Record is called.
	At   time.Time `bson:"at"`
	Name Name      `bson:"name"`
	// UserID is the ID of the account concerned, or "" if it is unknown. Users see only events
	// with their own ID.
	UserID string `bson:"userId,omitempty"`
	// SessionID is the public ID of the session, which is not a secret.
	SessionID string `bson:"sessionId,omitempty"`
	RequestID string `bson:"requestId,omitempty"`
	Route     string `bson:"route,omitempty"` // the pattern, for example "POST /auth/login"
	IP        string `bson:"ip,omitempty"`
	UserAgent string `bson:"userAgent,omitempty"`
	Device    string `bson:"device,omitempty"`   // a description of the user agent
	Origin    string `bson:"origin,omitempty"`   // the origin of the page that sent the request
	Provider  string `bson:"provider,omitempty"` // the name of an external provider in the settings
	// Level is the authentication level of the session after a login or a step-up: "aal1" or "aal2"
	// (NIST SP 800-63B-4). The key is authLevel, because the log has a level of its own.
	Level string `bson:"authLevel,omitempty"`
	// Methods is what a login or a step-up proved, separated by commas: "pwd,otp".
	Methods   string `bson:"authMethods,omitempty"`
	NewDevice bool   `bson:"newDevice,omitempty"` // whether the user has not used the device before
	// By is "operator" if an operator caused the event, and "" if the client did.
	By string `bson:"by,omitempty"`
	// Count is the number of sessions ended, for events that can end several.
	Count int `bson:"count,omitempty"`
	// Once is set if the event can happen only once per session. If a client repeats its request,
	// or sends it several times at once, only the first event is stored.
	Once bool `bson:"-"`
}

// newID returns a new ID that begins with e.At or, if e.Once is set, the same ID for all such
// events of the session.
func (e Event) newID() primitive.ObjectID {
	id := primitive.NewObjectIDFromTimestamp(e.At)
	if e.Once {
		hash := sha256.Sum256([]byte(string(e.Name) + " " + e.SessionID))
		copy(id[:], hash[:])
	}

	return id
}

// textField is one of an event's texts, with the key that it has in the log.
type textField struct {
	key   string
	value *string
}

func (e *Event) textFields() []textField {
	return []textField{
		{"userId", &e.UserID},
		{"sessionId", &e.SessionID},
		{"requestId", &e.RequestID},
		{"route", &e.Route},
		{"ip", &e.IP},
		{"userAgent", &e.UserAgent},
		{"device", &e.Device},
		{"origin", &e.Origin},
		{"provider", &e.Provider},
		{"authLevel", &e.Level},
		{"authMethods", &e.Methods},
		{"by", &e.By},
	}
}

// IsID reports whether s has the form of an event ID.
func IsID(s string) bool {
	_, err := primitive.ObjectIDFromHex(s)

	return err == nil
}

// maxText is the maximum length of a text in bytes.
const maxText = 256

// cleaned returns a copy of the event whose texts are safe to display. Clients chose most of the
// texts. Log handlers escape them, but terminals and pages that show the collection may not.
func (e Event) cleaned() Event {
	for _, field := range e.textFields() {
		*field.value = clean(*field.value)
	}

	return e
}

// clean cuts s to maxText bytes of valid UTF-8 and removes unprintable characters: control
// characters, which can forge a log line or control a terminal, line separators (U+2028), and
// characters that change the direction of text (U+202E).
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}

		return -1
	}, strings.ToValidUTF8(s[:min(len(s), maxText)], ""))
}

// attrs returns the log line's attributes, without empty fields.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("event", string(e.Name)), slog.String("eventId", e.ID)}
	for _, field := range e.textFields() {
		if *field.value != "" {
			attrs = append(attrs, slog.String(field.key, *field.value))
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
