package mail

import (
	"context"
	"errors"
	"time"
)

// Kind is what a letter is about.
type Kind string

// The kinds of letters. Their values are in Redis and must stay as they are.
const (
	// VerifyEmail asks a new user to confirm the address, with a link.
	VerifyEmail Kind = "verify_email"
	// ResetPassword lets a user who forgot the password set a new one, with a link.
	ResetPassword Kind = "reset_password"
	// ConfirmEmail goes to the new address of an email change, with a link.
	ConfirmEmail Kind = "confirm_email"
	// EmailChangeAsked tells the old address that a change was asked for.
	EmailChangeAsked Kind = "email_change_asked"
	// EmailChanged tells the old and the new address that it was changed, a job each.
	EmailChanged Kind = "email_changed"
	// PasswordChanged tells a user that the password was changed.
	PasswordChanged Kind = "password_changed"
	// NewDevice tells a user of a login from a device that was not seen before.
	NewDevice Kind = "new_device"
	// IdentityLinked tells a user that an account elsewhere signs in to theirs, and
	// IdentityUnlinked that it does not any more.
	IdentityLinked   Kind = "identity_linked"
	IdentityUnlinked Kind = "identity_unlinked"
	// AccountClaimed tells a user that the account is theirs by an account elsewhere, and
	// that whoever made it is out.
	AccountClaimed Kind = "account_claimed"
	// AccountDeleted tells a user that the account is gone.
	AccountDeleted Kind = "account_deleted"
)

// Job is one letter to one address, as it waits in Redis. It has no secret in it:
// who reads Redis must not be able to reset a password. Links are made when the
// letter is sent.
type Job struct {
	// ID is random and names the job in logs, and the message to who receives it.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`

	UserID string `json:"userId,omitempty"`
	// Email is where the letter goes; for ResetPassword it is what someone typed, and
	// may be nobody's.
	Email string `json:"email"`
	Name  string `json:"name,omitempty"` // as the user wrote it

	// Ask names what was asked for in the account, where that may be taken back before the
	// letter is sent.
	Ask      string    `json:"ask,omitempty"`
	NewEmail string    `json:"newEmail,omitempty"` // of an email change
	OldEmail string    `json:"oldEmail,omitempty"`
	Provider string    `json:"provider,omitempty"` // of an account elsewhere, in words
	Device   string    `json:"device,omitempty"`   // that it was done from, in words
	IP       string    `json:"ip,omitempty"`
	At       time.Time `json:"at,omitzero"` // when it was done
	Created  time.Time `json:"created"`     // when it was put into the queue
}

// ErrRejected says that a message will never be taken, so that there is no use in
// trying again: a mail server has refused the recipient or the message for good.
var ErrRejected = errors.New("the message was rejected")

// Sender sends messages.
type Sender interface {
	// Send returns once a message is in the hands of someone who answers for it. Errors
	// wrap ErrRejected where it must not be tried again. They name neither the
	// recipient nor what the message says, because they are logged.
	Send(ctx context.Context, m Message) error
}
