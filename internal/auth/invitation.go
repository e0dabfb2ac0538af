package auth

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"latchkey/internal/mail"
	"latchkey/internal/token"
	"latchkey/internal/user"
)

// ErrMailThrottled is returned to an operator if no email is sent because its recipient has already
// received too many.
var ErrMailThrottled = errors.New("too many emails to this recipient; try again later")

// ErrNoBaseURL is returned if a link cannot be created because Options.BaseURL is empty.
var ErrNoBaseURL = errors.New("no base URL for links")

// Invite invites somebody to create an account, on behalf of an operator, and emails them a link. An
// earlier invitation to the same email is replaced. name is a suggestion and may be empty. Errors:
// ErrMailNotConfigured, ErrMailThrottled, user.ErrEmailTaken, user.ErrUnavailable,
// redisconn.ErrUnavailable.
func (s *Service) Invite(ctx context.Context, email user.Email, name string) error {
	if !s.SendsEmail() {
		return ErrMailNotConfigured
	}
	if err := s.storeInvitation(ctx, email, name); err != nil {
		return err
	}

	queued, err := s.pushNotice(ctx, mail.Job{Kind: mail.Invitation, To: string(email)})
	if err == nil && !queued {
		err = ErrMailThrottled
	}

	return err
}

// InviteWithLink is like Invite, but returns the link instead of sending it. Errors: ErrNoBaseURL,
// user.ErrEmailTaken, user.ErrUnavailable.
func (s *Service) InviteWithLink(ctx context.Context, email user.Email, name string) (link string, err error) {
	if s.options.BaseURL == "" {
		return "", ErrNoBaseURL
	}
	if err := s.storeInvitation(ctx, email, name); err != nil {
		return "", err
	}

	link, _, err = s.invitationLink(ctx, email)

	return link, err
}

func (s *Service) storeInvitation(ctx context.Context, email user.Email, name string) error {
	return s.users.Invite(ctx, user.Invitation{
		Email:   email,
		Name:    name,
		Expires: s.options.Now().Add(s.options.InvitationMaxAge),
	})
}

// invitationLink stores a new token in the invitation for an email, and returns the link that contains it
// and the hash of the token. The link is for the page that creates the account, and contains what that
// page shows. Errors: user.ErrNotFound if the invitation was withdrawn or used, or has expired;
// user.ErrUnavailable.
func (s *Service) invitationLink(ctx context.Context, email user.Email) (link, hash string, err error) {
	invitation, err := s.users.Invitation(ctx, email)
	if err != nil {
		return "", "", err
	}

	oneTime := token.New()
	hash = tokenHash(oneTime)
	err = s.users.IssueInvitationToken(ctx, invitation.Email, hash, s.options.Now().Add(s.options.InvitationMaxAge))
	if err != nil {
		return "", "", err
	}

	link = s.options.BaseURL + "/accept-invitation#token=" + oneTime + "&email=" + url.QueryEscape(string(invitation.Email))
	if invitation.Name != "" {
		link += "&name=" + url.QueryEscape(invitation.Name)
	}

	return link, hash, nil
}

// addInvitationLink adds the link of an invitation to its email. Errors: user.ErrNotFound if the invitation
// is no longer open, user.ErrUnavailable.
func (s *Service) addInvitationLink(ctx context.Context, email *mail.Email) error {
	link, hash, err := s.invitationLink(ctx, user.Email(email.To))
	if err != nil {
		return err
	}

	email.Link = link
	email.ExpiresIn = s.options.InvitationMaxAge
	email.ID += "-" + hash[:8] // as in addLink

	return nil
}

// mayRegister checks that somebody may register with an email and a password. Errors: those of
// RegistrationPolicy, ErrInvalidToken, user.ErrUnavailable.
func (s *Service) mayRegister(ctx context.Context, in Registration) error {
	policy := s.options.Registration
	if in.Invitation == "" {
		return policy.check(in.Email)
	}
	if !policy.acceptsInvitations() {
		return ErrRegistrationClosed
	}

	_, err := s.users.InvitationByToken(ctx, in.Email, tokenHash(in.Invitation))

	return invalidIfGone(err)
}

// createRegistered stores a new account, with an invitation if the user has one. The link of the
// invitation was sent to the owner of the email, so the email counts as verified. Errors: ErrInvalidToken,
// user.ErrEmailTaken, user.ErrUnavailable.
func (s *Service) createRegistered(ctx context.Context, u user.User, invitation string) (user.User, error) {
	if invitation == "" {
		return s.users.Create(ctx, u)
	}

	err := s.users.TakeInvitation(ctx, u.Email, tokenHash(invitation), u.ID)
	if errors.Is(err, user.ErrNotFound) {
		err = s.whyNotTaken(ctx, u.Email, invitation)
	}
	if err != nil {
		return user.User{}, err
	}

	u.EmailVerified = true
	u.OwnerConfirmed = true
	created, err := s.users.Create(ctx, u)
	if err != nil {
		s.releaseInvitation(ctx, u)
	}

	return created, err
}

// whyNotTaken returns why an invitation could not be reserved. Another registration may have reserved it and
// be in progress, or may have been interrupted. Errors: ErrInvalidToken, user.ErrEmailTaken,
// user.ErrUnavailable.
func (s *Service) whyNotTaken(ctx context.Context, email user.Email, invitation string) error {
	if _, err := s.users.InvitationByToken(ctx, email, tokenHash(invitation)); err != nil {
		return invalidIfGone(err)
	}
	if err := s.users.CheckEmailFree(ctx, email, ""); err != nil {
		return err
	}

	return fmt.Errorf("%w: the invitation is reserved by another registration", user.ErrUnavailable)
}

// takeInvitationOf reserves the open invitation for the email of a new account. If there is none, it
// returns refused, the reason why the account may not be created.
func (s *Service) takeInvitationOf(ctx context.Context, u user.User, refused error) error {
	if !s.options.Registration.acceptsInvitations() || !u.EmailVerified {
		return refused
	}

	err := s.users.TakeInvitationOf(ctx, u.Email, u.ID)
	if errors.Is(err, user.ErrNotFound) {
		return refused
	}

	return err
}

// releaseInvitation makes an invitation usable again after its account could not be created. A failure
// is only logged: the invitation can be used again a minute later.
func (s *Service) releaseInvitation(ctx context.Context, u user.User) {
	if err := s.users.ReleaseInvitation(ctx, u.Email, u.ID); err != nil {
		s.log.ErrorContext(ctx, "cannot release the invitation of an account that was not created", "userId", u.ID, "error", err)
	}
}

// removeInvitation deletes the invitation for the email of a new account. A failure is only logged: while
// the account exists, nobody else can register with the email.
func (s *Service) removeInvitation(ctx context.Context, u user.User) {
	if _, err := s.users.RemoveInvitation(ctx, u.Email); err != nil {
		s.log.ErrorContext(ctx, "cannot remove a used invitation", "userId", u.ID, "error", err)
	}
}
