package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"latchkey/internal/device"
	"latchkey/internal/mail"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// MaxFailures is the number of consecutive wrong passwords after which the password of an account is
// restricted (NIST SP 800-63B-4 section 3.2.2): it is accepted from known devices only. A login ends
// the restriction, with the password on a known device or with a provider. So does a new password.
//
// Strangers can restrict any password. That must not lock out the owner, who can use a known device, a
// provider or a reset link. Without a Sender there are no reset links, so a few passwords from unknown
// devices are still checked: see restrictedIPRule.
const MaxFailures = 100

// These rules apply if the server sends no emails. They limit the number of passwords from unknown
// devices that are checked for an account whose password is restricted. Since the number per IP is
// lower than the number per account, one stranger cannot use up the passwords of the owner.
var (
	restrictedIPRule      = ratelimit.Rule{Events: 10, Window: time.Hour}
	restrictedAccountRule = ratelimit.Rule{Events: 50, Window: time.Hour}
)

const (
	// failuresStep is the number of wrong passwords after which the count is stored in the account
	// again. In between, only Redis has the count: if it loses its data, at most failuresStep-1
	// wrong passwords are forgotten.
	failuresStep = 10

	// failuresTTL is how long Redis keeps the count after a wrong password.
	failuresTTL = 30 * 24 * time.Hour

	// restrictedMailInterval is the minimum time between two emails about a restricted password of
	// one account. A login on a known device ends the restriction, but continued guessing may
	// restrict the password again.
	restrictedMailInterval = 24 * time.Hour
)

var (
	// ErrPasswordRestricted is returned to a signed-in user whose password is restricted. It does not
	// reveal whether the password was correct.
	ErrPasswordRestricted = errors.New("password is restricted")

	// ErrTooManyFailures is joined to the error for a wrong password if the account's password is
	// restricted from then on.
	ErrTooManyFailures = errors.New("too many wrong passwords")
)

// dummyUser takes the place of accounts whose wrong passwords are not counted. It makes such an
// attempt do the same work as any other: otherwise the response time would reveal which emails have
// an account.
var dummyUser = user.User{ID: "000000000000000000000000", FailedPasswords: MaxFailures}

// mayTry reports whether a password from a client may be checked for an account. Errors:
// redisconn.ErrUnavailable.
func (s *Service) mayTry(ctx context.Context, u user.User, client session.Client, proofs device.Proofs) (bool, error) {
	switch {
	case u.ID == "" || !u.Active:
		return false, nil
	case u.FailedPasswords < MaxFailures || proofs.Device(u.ID, u.DeviceGeneration) != "":
		return true, nil
	case s.options.Sender != nil:
		return false, nil
	}

	b, err := s.options.Limiter.TakeIP(ctx, "restricted:"+u.ID, client.IP, restrictedIPRule, restrictedIPRule)
	if err != nil || !b.Allowed {
		return false, err
	}

	b, err = s.options.Limiter.Take(ctx, "restricted:"+u.ID, restrictedAccountRule)

	return b.Allowed, err
}

// countFailure counts a wrong password for an account and returns failure, joined with
// ErrTooManyFailures if this failure restricts the password. Errors: user.ErrUnavailable,
// redisconn.ErrUnavailable.
func (s *Service) countFailure(ctx context.Context, u user.User, client session.Client, failure error) error {
	if u.ID == "" || !u.Active || u.PasswordHash == "" {
		u = dummyUser
	}

	// A login or a new password changes the period, so both reset the count without a command to
	// Redis.
	period := fmt.Sprintf("%s:%d", u.DeviceGeneration, u.LastLogin.UnixMilli())
	n, err := s.options.Limiter.Count(ctx, "failures:"+u.ID, period, u.FailedPasswords, failuresTTL)
	if err != nil {
		return err
	}

	isRestricted := u.FailedPasswords >= MaxFailures
	isDue := n%failuresStep == 0 || n >= MaxFailures && !isRestricted
	if !isDue {
		return failure
	}

	err = s.users.RecordFailures(ctx, u, min(n, MaxFailures))
	if errors.Is(err, user.ErrNotFound) {
		return failure // a login has reset the count, or another attempt has stored this number
	}
	if n >= MaxFailures {
		// If the result is unknown, assume that the password is restricted now.
		s.notifyOfRestriction(ctx, u, client)
		failure = errors.Join(failure, ErrTooManyFailures)
	}
	if err != nil {
		return err
	}

	return failure
}

// notifyOfRestriction notifies the owner of an account by email that its password is restricted.
func (s *Service) notifyOfRestriction(ctx context.Context, u user.User, client session.Client) {
	job := addressed(mail.Job{Kind: mail.PasswordRestricted}, u, client)

	if _, err := s.push(ctx, job, "restricted:"+u.ID, restrictedMailInterval); err != nil {
		s.logNotNotified(ctx, job, err)
	}
}
