package mail

import (
	"context"
	"errors"
	"time"
)

// Kind is the kind of an email.
type Kind string

// The kinds of emails. Their values are stored in Redis and must not change. The first three and
// Invitation contain a link with a one-time token.
const (
	VerifyEmail          Kind = "verify_email"
	ResetPassword        Kind = "reset_password"
	ConfirmEmail         Kind = "confirm_email"      // sent to the new email address
	EmailChangeRequested Kind = "email_change_asked" // sent to the current email address
	EmailChanged         Kind = "email_changed"      // sent to the old and the new one, with separate jobs
	PasswordChanged      Kind = "password_changed"
	NewDevice            Kind = "new_device" // a login from a device that was not used before
	IdentityLinked       Kind = "identity_linked"
	IdentityUnlinked     Kind = "identity_unlinked"
	AccountClaimed       Kind = "account_claimed" // see auth.Claimed
	AccountDeleted       Kind = "account_deleted"
	PasswordRestricted   Kind = "password_restricted" // after too many wrong passwords
	Invitation           Kind = "invitation"          // sent to somebody without an account
	FactorAdded          Kind = "factor_added"        // an authenticator app
	FactorRemoved        Kind = "factor_removed"
	FactorDisabled       Kind = "factor_disabled"    // after too many wrong codes
	RecoveryCodeUsed     Kind = "recovery_code_used" // instead of a code from an authenticator app
	RecoveryCodesCreated Kind = "recovery_codes_created"
	FactorsReset         Kind = "factors_reset" // by an operator
)

// Kinds returns all kinds of emails.
func Kinds() []Kind {
	return []Kind{
		VerifyEmail, ResetPassword, ConfirmEmail, EmailChangeRequested, EmailChanged, PasswordChanged,
		PasswordRestricted, Invitation, NewDevice, IdentityLinked, IdentityUnlinked, AccountClaimed, AccountDeleted,
		FactorAdded, FactorRemoved, FactorDisabled, RecoveryCodeUsed, RecoveryCodesCreated, FactorsReset,
	}
}

// needsLink reports whether the email is pointless without its link.
func (k Kind) needsLink() bool {
	switch k {
	case VerifyEmail, ResetPassword, ConfirmEmail, Invitation:
		return true
	}

	return false
}

// Job is a queued email to one recipient. It is stored in Redis and contains no secrets:
// access to Redis must not be enough to reset a password.
type Job struct {
	// ID is a random identifier for the log and the Message-ID header.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`

	UserID string `json:"userId,omitempty"`
	// To is the recipient's email address. For ResetPassword it is what someone entered, even if
	// there is no account with it. Emails with a link go to the email stored in the account
	// instead.
	To string `json:"email"`

	// Locale is the BCP 47 locale of the recipient. If it is empty, the default is used.
	Locale string `json:"locale,omitempty"`

	// RequestID identifies a request that is stored in the account. The request may be cancelled
	// before the email is sent.
	RequestID string `json:"requestId,omitempty"`
	NewEmail  string `json:"newEmail,omitempty"` // for an email change
	OldEmail  string `json:"oldEmail,omitempty"`
	Provider  string `json:"provider,omitempty"` // the title of an external provider
	// Factor is the name of the authenticator app concerned. Users choose it freely, so emails show
	// only the names of well-known apps.
	Factor string `json:"factor,omitempty"`
	// Left is the number of recovery codes left, for RecoveryCodeUsed.
	Left int `json:"left,omitempty"`
	// Reason is why an operator reset the factors, for FactorsReset, which needs one. It is one line
	// of at most MaxReason characters; emails show no more of it.
	Reason  string    `json:"reason,omitempty"`
	Device  string    `json:"device,omitempty"` // a description of the device used
	IP      string    `json:"ip,omitempty"`
	At      time.Time `json:"at,omitzero"` // when the event happened
	Created time.Time `json:"created"`     // when the job was first queued
}

// MaxReason is the maximum length of Job.Reason in characters.
const MaxReason = 200

// Email is a Job that is ready to be composed and sent.
type Email struct {
	Job

	// Link is an http or https URL. VerifyEmail, ResetPassword, ConfirmEmail and Invitation need
	// one; in other emails it may lead to a page where users can secure their account.
	Link      string
	ExpiresIn time.Duration // the remaining lifetime of the link
}

// Message is a composed email.
type Message struct {
	// ID is the local part of the Message-ID header. It stays the same if the message is sent
	// again.
	ID      string
	To      string // the recipient's email address
	Subject string
	Text    string
	HTML    string
}

// ErrRejected is returned for a message that must not be retried, because a mail server has
// permanently rejected it or its recipient.
var ErrRejected = errors.New("message rejected")

// Sender sends messages.
type Sender interface {
	// Send returns nil once a mail server has accepted responsibility for the message. Errors
	// wrap ErrRejected if retrying is pointless. They are logged, so they must contain neither
	// the recipient nor the content of the message.
	Send(ctx context.Context, m Message) error
}
