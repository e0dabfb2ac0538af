package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"latchkey/internal/factor"
	"latchkey/internal/mail"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

var (
	// ErrFactorsNotConfigured is returned if an authenticator app cannot be set up, because there is no
	// DATA_KEY.
	ErrFactorsNotConfigured = errors.New("second factors are not configured")

	// ErrNoFactor is returned if an account has no second factor.
	ErrNoFactor = errors.New("account has no second factor")

	// ErrUnknownFactor is returned if an account has no factor with the given ID.
	ErrUnknownFactor = errors.New("no such factor")

	// ErrNoEnrolment is returned if no enrolment with this ID is in progress: it expired, was replaced or
	// was confirmed.
	ErrNoEnrolment = errors.New("no such enrolment")

	// ErrTooManyFactors is returned if an account has user.MaxFactors factors.
	ErrTooManyFactors = errors.New("too many factors")

	// ErrNoDevice is returned if an account has no such trusted device.
	ErrNoDevice = errors.New("no such trusted device")
)

// WrongClockError is an ErrWrongCode for a code that is right, but for another time.
type WrongClockError struct {
	Off time.Duration // how far the user's clock is ahead
	Now time.Time     // the server's time
}

// Error implements error.
func (e *WrongClockError) Error() string { return "code is for another time" }

// Is makes errors.Is report every WrongClockError as ErrWrongCode.
func (e *WrongClockError) Is(target error) bool { return target == ErrWrongCode }

// enrolmentMaxAge is how long the user may take to set up an authenticator app.
const enrolmentMaxAge = 10 * time.Minute

// Enrolment is an authenticator app that is being set up.
type Enrolment struct {
	ID      string
	Secret  string // in base32, to type it in
	URI     string // for the QR code
	Expires time.Time
}

// FactorsAvailable reports whether authenticator apps can be set up.
func (s *Service) FactorsAvailable() bool { return s.options.DataKeys.Available() }

// AvailableFactors returns the kinds of second factors that users can add.
func (s *Service) AvailableFactors() []FactorKind {
	if !s.FactorsAvailable() {
		return []FactorKind{}
	}

	return []FactorKind{TOTPFactor}
}

// MFA returns which accounts need a second factor.
func (s *Service) MFA() MFAMode { return s.options.MFA }

// seedContext returns what the seed of a factor is bound to, so that a seed that is copied to another
// account does not decrypt.
func seedContext(userID, factorID string) string { return "totp " + userID + " " + factorID }

func (s *Service) sealSeed(userID, factorID string, seed []byte) (string, error) {
	return s.options.DataKeys.Seal(seed, seedContext(userID, factorID))
}

func (s *Service) openSeed(userID, factorID, sealed string) (seed []byte, outdated bool, err error) {
	return s.options.DataKeys.Open(sealed, seedContext(userID, factorID))
}

// EnrolTOTP begins to set up an authenticator app. It becomes a factor with ConfirmTOTP. Errors:
// ErrFactorsNotConfigured, ErrTooManyFactors, user.ErrNotFound, user.ErrUnavailable.
func (s *Service) EnrolTOTP(ctx context.Context, userID string) (Enrolment, error) {
	if !s.FactorsAvailable() {
		return Enrolment{}, ErrFactorsNotConfigured
	}

	u, err := s.activeUser(ctx, userID)
	if err != nil {
		return Enrolment{}, err
	}
	if len(u.Factors) >= user.MaxFactors {
		return Enrolment{}, ErrTooManyFactors
	}

	id := strings.ToLower(rand.Text())
	seed := factor.NewSecret()
	sealed, err := s.sealSeed(userID, id, seed)
	if err != nil {
		return Enrolment{}, err
	}

	expires := s.options.Now().Add(enrolmentMaxAge).UTC().Truncate(time.Millisecond)
	if err := s.users.BeginEnrolment(ctx, userID, user.Enrolment{ID: id, Seed: sealed, Expires: expires}); err != nil {
		return Enrolment{}, err
	}

	return Enrolment{
		ID:      id,
		Secret:  factor.EncodeSecret(seed),
		URI:     factor.URI(s.options.Issuer, string(u.Email), seed),
		Expires: expires,
	}, nil
}

// Added is the result of adding a factor.
type Added struct {
	Changed
	Factor user.Factor
	// RecoveryCodes are the new recovery codes, or nil if the account has some. They are not stored.
	RecoveryCodes []string
}

// ConfirmTOTP adds the authenticator app that a signed-in user is setting up, if the code proves that it
// works. The code's time step counts as used. All other sessions and all known and trusted devices end,
// and the owner is notified. Errors: ErrNoEnrolment, ErrTooManyFactors, ErrWrongCode or a WrongClockError,
// ErrFactorsUnavailable, user.ErrNotFound, user.ErrUnavailable, the errors of package session.
func (s *Service) ConfirmTOTP(ctx context.Context, caller Caller, id, code, name string) (Added, error) {
	u, err := s.activeUser(ctx, caller.UserID)
	if err != nil {
		return Added{}, err
	}

	// Check the code first, so that a wrong one does not end any session.
	f, err := s.checkEnrolment(u, id, code)
	if err != nil {
		return Added{}, err
	}
	f.Name = name

	var codes, hashes []string
	if len(u.RecoveryCodes) == 0 {
		codes = factor.NewRecoveryCodes()
		hashes = hashesOf(codes)
	}

	changed, err := s.changeFactors(ctx, caller, factorChange{
		apply: func() (user.User, error) { return s.users.AddFactor(ctx, u, f, hashes) },
		recheck: func() error {
			now, err := s.activeUser(ctx, caller.UserID)
			if err == nil {
				_, err = s.checkEnrolment(now, id, code)
			}

			return err
		},
		notice: mail.Job{Kind: mail.FactorAdded, Factor: name},
		renew: func(ctx context.Context) (*session.Session, string, error) {
			return s.sessions.Reauthenticate(ctx, session.OTP)
		},
	})

	added := Added{Changed: changed, Factor: f}
	if changed.User.ID != "" {
		f = changed.User.Factors[id]
		f.ID = id
		added.Factor = f
		added.RecoveryCodes = codes
	}

	return added, err
}

// checkEnrolment returns the factor that the user is setting up, if the code proves that it works.
func (s *Service) checkEnrolment(u user.User, id, entered string) (user.Factor, error) {
	e := u.Enrolment
	now := s.options.Now()
	if e == nil || e.ID != id || !now.Before(e.Expires) {
		return user.Factor{}, ErrNoEnrolment
	}
	if len(u.Factors) >= user.MaxFactors {
		return user.Factor{}, ErrTooManyFactors
	}

	seed, _, err := s.openSeed(u.ID, e.ID, e.Seed)
	if err != nil {
		return user.Factor{}, errors.Join(ErrFactorsUnavailable, err)
	}

	code, ok := factor.NormalizeCode(entered)
	if !ok {
		return user.Factor{}, ErrWrongCode
	}

	step, ok := factor.Match(seed, code, now, 0)
	if ok {
		return user.Factor{ID: e.ID, Kind: user.TOTP, Seed: e.Seed, Step: step}, nil
	}

	// Nobody can attack a secret that only this user has, so this may reveal that the code is right. At a
	// login it must not: a guess that is right later could be used then.
	if off, isOff := factor.MatchesClock(seed, code, now); isOff {
		return user.Factor{}, &WrongClockError{Off: off, Now: now}
	}

	return user.Factor{}, ErrWrongCode
}

// factorChange is a change of the factors of an account.
type factorChange struct {
	apply func() (user.User, error)
	// recheck returns why the change is no longer possible, if the account has changed at the same time.
	recheck func() error
	notice  mail.Job
	// renew gives the session of the caller a new token.
	renew func(context.Context) (*session.Session, string, error)
}

// changeFactors changes the factors of a signed-in user, whose other sessions end. Errors: the errors of
// c.apply and c.recheck, except that user.ErrNotFound may also mean that the account has changed at the
// same time; the errors of package session.
func (s *Service) changeFactors(ctx context.Context, caller Caller, c factorChange) (Changed, error) {
	changed, err := s.withSessionsEnded(ctx, caller, change{
		why:    session.FactorsChanged,
		keep:   caller.SessionID,
		apply:  c.apply,
		notify: func(u user.User) { s.notify(ctx, c.notice, u, caller.Client) },
	})
	if errors.Is(err, user.ErrNotFound) {
		if why := c.recheck(); why != nil {
			err = why
		}
	}
	if err != nil {
		return changed, err
	}

	return s.renew(ctx, changed, session.FactorsChanged, c.renew)
}

// RenameFactor changes the name of a factor. Errors: ErrUnknownFactor, user.ErrNotFound,
// user.ErrUnavailable.
func (s *Service) RenameFactor(ctx context.Context, userID, factorID, name string) (user.Factor, error) {
	if _, err := s.factorOf(ctx, userID, factorID); err != nil {
		return user.Factor{}, err
	}

	u, err := s.users.RenameFactor(ctx, userID, factorID, name)
	if errors.Is(err, user.ErrNotFound) {
		return user.Factor{}, ErrUnknownFactor // it was removed meanwhile
	}

	f := u.Factors[factorID]
	f.ID = factorID

	return f, err
}

// factorOf returns the account of a signed-in user if it has a factor. Errors: ErrUnknownFactor,
// user.ErrNotFound, user.ErrUnavailable.
func (s *Service) factorOf(ctx context.Context, userID, factorID string) (user.User, error) {
	u, err := s.activeUser(ctx, userID)
	if err != nil {
		return user.User{}, err
	}
	if _, ok := u.Factors[factorID]; !ok {
		return user.User{}, ErrUnknownFactor
	}

	return u, nil
}

// RemoveFactor removes a factor. All other sessions and all known and trusted devices end, and the owner is
// notified. Errors: ErrUnknownFactor, user.ErrNotFound, user.ErrUnavailable, the errors of package session.
func (s *Service) RemoveFactor(ctx context.Context, caller Caller, factorID string) (Changed, error) {
	u, err := s.factorOf(ctx, caller.UserID, factorID)
	if err != nil {
		return Changed{}, err
	}

	return s.changeFactors(ctx, caller, factorChange{
		apply: func() (user.User, error) { return s.users.RemoveFactor(ctx, u, factorID) },
		recheck: func() error {
			_, err := s.factorOf(ctx, caller.UserID, factorID)

			return err
		},
		notice: mail.Job{Kind: mail.FactorRemoved, Factor: u.Factors[factorID].Name},
		renew: func(ctx context.Context) (*session.Session, string, error) {
			if len(u.Factors) == 1 {
				return s.sessions.ForgetFactors(ctx)
			}

			return s.sessions.Rotate(ctx)
		},
	})
}

// NewRecoveryCodes replaces the recovery codes of a signed-in user and notifies the owner. The codes are
// not stored. Errors: ErrNoFactor, user.ErrNotFound, user.ErrUnavailable, the errors of package session.
func (s *Service) NewRecoveryCodes(ctx context.Context, caller Caller) ([]string, error) {
	u, err := s.activeUser(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	if !u.HasFactor() {
		return nil, ErrNoFactor
	}

	// Adding a factor ends the other sessions first. Without this check, a request that was authorized
	// before that could get recovery codes for the new factor.
	if err := s.stillSignedIn(ctx, caller); err != nil {
		return nil, err
	}

	codes := factor.NewRecoveryCodes()
	updated, err := s.users.SetRecoveryCodes(ctx, u, hashesOf(codes))
	if errors.Is(err, user.ErrNotFound) {
		// The last factor may have been removed at the same time.
		now, readErr := s.activeUser(ctx, caller.UserID)
		if readErr == nil && !now.HasFactor() {
			err = ErrNoFactor
		}
	}
	if err != nil {
		return nil, err
	}
	s.notify(ctx, mail.Job{Kind: mail.RecoveryCodesCreated}, updated, caller.Client)

	return codes, nil
}

// hashesOf returns the hashes under which recovery codes are stored.
func hashesOf(codes []string) []string {
	hashes := make([]string, len(codes))
	for i, code := range codes {
		hashes[i] = factor.HashRecoveryCode(code)
	}

	return hashes
}

// ResetFactors removes all factors and recovery codes of an account on behalf of an operator, ends its
// sessions and notifies the owner of the reason. Errors: user.ErrNotFound, user.ErrUnreadable,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) ResetFactors(ctx context.Context, caller Caller, reason string) (Changed, error) {
	return s.withSessionsEnded(ctx, caller, change{
		why:    session.FactorsChanged,
		urgent: true,
		apply:  func() (user.User, error) { return s.users.ResetFactors(ctx, caller.UserID) },
		notify: func(u user.User) {
			s.notify(ctx, mail.Job{Kind: mail.FactorsReset, Reason: reason}, u, caller.Client)
		},
	})
}

// MissingProofs returns the methods that a signed-in user still has to prove before a sensitive change:
// session.Password or session.Federated, session.OTP, or both. A step-up must reach the level of the
// account, even if REQUIRE_MFA does not ask for the factor at a login.
func MissingProofs(u user.User, p session.Proof, earliest time.Time) []string {
	var missing []string
	if !p.HasRecentFirst(earliest) {
		first := session.Federated
		if u.PasswordHash != "" {
			first = session.Password
		}
		missing = append(missing, first)
	}
	if u.HasFactor() && !p.HasRecentSecond(earliest) {
		missing = append(missing, session.OTP)
	}

	return missing
}
