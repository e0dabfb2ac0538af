package auth

import (
	"context"
	"errors"
	"slices"

	"latchkey/internal/factor"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

var (
	// ErrNoPendingLogin is returned if no login waits for a second factor: it has expired, was completed
	// or cancelled, was ended by too many wrong codes, or the account has changed.
	ErrNoPendingLogin = errors.New("no pending login")

	// ErrWrongCode is returned for a code that is wrong, expired or used.
	ErrWrongCode = errors.New("wrong code")

	// ErrFactorDisabled is joined to ErrWrongCode if the wrong code disabled an authenticator app.
	ErrFactorDisabled = errors.New("too many wrong codes")

	// ErrFactorsUnavailable is returned if no authenticator app of an account can be checked, because
	// DATA_KEY cannot decrypt their seeds.
	ErrFactorsUnavailable = errors.New("seed of the authenticator app cannot be decrypted")
)

// FactorKind is a kind of second factor, as the API names it.
type FactorKind string

// The kinds of second factors.
const (
	TOTPFactor         FactorKind = user.TOTP
	RecoveryCodeFactor FactorKind = "recovery_code"
)

// MFAMode determines which accounts need a second factor to log in.
type MFAMode string

// The modes of second factors.
const (
	MFAOff      MFAMode = "off"      // none, even if they have one
	MFAEnrolled MFAMode = "enrolled" // accounts that have one
	MFAAll      MFAMode = "all"      // all: without one, a session can only be used to add one
)

// FactorKinds returns the kinds of second factors with which the user of an account can log in.
func FactorKinds(u user.User) []FactorKind {
	kinds := []FactorKind{}
	isUsable := func(f user.Factor) bool { return !f.Disabled() }
	if slices.ContainsFunc(u.ListFactors(), isUsable) {
		kinds = append(kinds, TOTPFactor)
	}
	if len(u.RecoveryCodes) > 0 {
		kinds = append(kinds, RecoveryCodeFactor)
	}

	return kinds
}

// Code is the proof of a second factor. Exactly one member is set.
type Code struct {
	OTP      string // of an authenticator app, as the user has entered it
	Recovery string // a recovery code, as the user has entered it
}

// Kind returns the kind of the second factor.
func (c Code) Kind() FactorKind {
	if c.Recovery != "" {
		return RecoveryCodeFactor
	}

	return TOTPFactor
}

// method returns the session method that the code proves.
func (c Code) method() string {
	if c.Recovery != "" {
		return session.Recovery
	}

	return session.OTP
}

// checkCode checks the code of a second factor of an account and returns its use, which the caller must
// record with user.Store.UseFactor. It counts a wrong code. Errors: ErrWrongCode, possibly joined with
// ErrFactorDisabled; ErrFactorsUnavailable, user.ErrUnavailable.
func (s *Service) checkCode(ctx context.Context, u user.User, code Code, client session.Client) (user.FactorUse, error) {
	if code.Recovery != "" {
		return checkRecoveryCode(u, code.Recovery)
	}

	use, ok, err := s.matchOTP(ctx, u, code.OTP)
	if err != nil || ok {
		return use, err
	}

	return user.FactorUse{}, s.countWrongCode(ctx, u, client)
}

// checkRecoveryCode returns the use of a recovery code. Wrong ones are not counted: they have too many
// random bits to be guessed.
func checkRecoveryCode(u user.User, entered string) (user.FactorUse, error) {
	canonical, ok := factor.ParseRecoveryCode(entered)
	if !ok {
		return user.FactorUse{}, ErrWrongCode
	}

	// The codes are hashed, so the time of a comparison reveals nothing about them.
	hash := factor.HashRecoveryCode(canonical)
	if !slices.Contains(u.RecoveryCodes, hash) {
		return user.FactorUse{}, ErrWrongCode
	}

	return user.FactorUse{RecoveryCode: hash}, nil
}

// matchOTP finds the authenticator app that shows a code. Errors: ErrFactorsUnavailable.
func (s *Service) matchOTP(ctx context.Context, u user.User, entered string) (use user.FactorUse, ok bool, err error) {
	code, isCode := factor.NormalizeCode(entered)
	checked := 0

	for _, f := range u.ListFactors() {
		if f.Kind != user.TOTP || f.Disabled() {
			continue
		}

		seed, outdated, err := s.openSeed(u.ID, f.ID, f.Seed)
		if err != nil {
			s.log.ErrorContext(ctx, "cannot decrypt the seed of an authenticator app: key missing in DATA_KEY, or seed damaged",
				"userId", u.ID, "factorId", f.ID, "error", err)
			continue
		}
		checked++

		step, matches := factor.Match(seed, code, s.options.Now(), f.Step)
		if !isCode || !matches {
			continue
		}

		use = user.FactorUse{FactorID: f.ID, Step: step}
		if outdated {
			use.Seed, err = s.sealSeed(u.ID, f.ID, seed)
		}

		return use, err == nil, err
	}

	isUnavailable := checked == 0 && slices.Contains(FactorKinds(u), TOTPFactor)
	if isUnavailable {
		err = ErrFactorsUnavailable
	}

	return user.FactorUse{}, false, err
}

// countWrongCode counts a wrong code, and returns ErrWrongCode, joined with ErrFactorDisabled if an
// authenticator app is disabled from then on. Errors: also user.ErrUnavailable.
func (s *Service) countWrongCode(ctx context.Context, u user.User, client session.Client) error {
	counted, disabled, err := s.users.RecordFactorFailure(ctx, u)
	if errors.Is(err, user.ErrNotFound) {
		return ErrWrongCode // a factor was removed meanwhile
	}
	if err != nil {
		return err
	}
	if len(disabled) == 0 {
		return ErrWrongCode
	}

	for _, f := range disabled {
		s.notifyOfDisabled(ctx, counted, f, client)
	}

	return errors.Join(ErrWrongCode, ErrFactorDisabled)
}

// notifyOfDisabled notifies the owner of an account that an authenticator app was disabled. Several wrong
// codes that are sent at the same time may disable it.
func (s *Service) notifyOfDisabled(ctx context.Context, u user.User, f user.Factor, client session.Client) {
	job := addressed(mail.Job{Kind: mail.FactorDisabled, Factor: f.Name}, u, client)

	if _, err := s.push(ctx, job, "factor-disabled:"+u.ID+":"+f.ID, restrictedMailInterval); err != nil {
		s.logNotNotified(ctx, job, err)
	}
}

// notifyOfRecovery notifies the owner of an account that a recovery code was used.
func (s *Service) notifyOfRecovery(ctx context.Context, u user.User, client session.Client) {
	s.notify(ctx, mail.Job{Kind: mail.RecoveryCodeUsed, Left: len(u.RecoveryCodes)}, u, client)
}

// activeUser returns an account that is not disabled. Errors: user.ErrNotFound, user.ErrUnreadable,
// user.ErrUnavailable.
func (s *Service) activeUser(ctx context.Context, id string) (user.User, error) {
	u, err := s.users.ByID(ctx, id)
	if err == nil && !u.Active {
		err = user.ErrNotFound
	}
	if err != nil {
		return user.User{}, err
	}

	return u, nil
}
