package auth

import (
	"context"
	"errors"
	"slices"

	"latchkey/internal/factor"
	"latchkey/internal/mail"
	"latchkey/internal/pending"
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

// PendingLogin returns a login that waits for a second factor. Errors: ErrNoPendingLogin,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) PendingLogin(ctx context.Context, token string) (Pending, error) {
	l, err := s.options.Pending.Find(ctx, token)
	if err != nil {
		return Pending{}, s.noPending(ctx, err)
	}

	u, err := s.pendingUser(ctx, l)
	if err != nil {
		return Pending{}, err
	}

	return Pending{Login: l, Factors: FactorKinds(u)}, nil
}

// pendingUser returns the account of a pending login. Errors: ErrNoPendingLogin if it has changed since the
// login began; user.ErrUnavailable.
func (s *Service) pendingUser(ctx context.Context, l pending.Login) (user.User, error) {
	u, err := s.users.ByID(ctx, l.UserID)
	if errors.Is(err, user.ErrNotFound) || errors.Is(err, user.ErrUnreadable) {
		return user.User{}, ErrNoPendingLogin
	}
	if err != nil {
		return user.User{}, err
	}

	isSame := u.Active && string(u.Email) == l.Email && u.DeviceGeneration == l.DeviceGeneration
	if !isSame {
		return user.User{}, ErrNoPendingLogin
	}

	return u, nil
}

// CancelPending cancels a pending login, and reports whether there was one. It ends the session of a login
// that was completed within the last minute, and returns that session, or nil. Errors:
// session.ErrUnavailable.
func (s *Service) CancelPending(ctx context.Context, token string) (cancelled bool, ended *session.Session, err error) {
	cancelled, sessionID, err := s.options.Pending.Cancel(ctx, token)
	if err != nil || sessionID == "" {
		return cancelled, nil, err
	}

	ended, err = s.sessions.EndByID(ctx, sessionID, session.LoggedOut)

	return cancelled, ended, err
}

// CompleteLogin completes a pending login with the code of a second factor. If trust is set, the browser
// becomes a trusted device. Together with ErrWrongCode it returns the ID of the account. Errors:
// ErrNoPendingLogin; ErrWrongCode, possibly joined with ErrFactorDisabled; ErrFactorsUnavailable,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Service) CompleteLogin(ctx context.Context, token string, code Code, trust bool, client Client) (SignedIn, error) {
	// 1. Count the attempt first, so that wrong codes that are sent at the same time are counted, too.
	l, left, err := s.options.Pending.Try(ctx, token)
	if err != nil {
		return SignedIn{}, s.noPending(ctx, err)
	}

	// 2. Check the code and begin the session, unless the account has changed since the login began.
	signedIn, err := s.beginFromPending(ctx, l, code, trust, client)
	failed := SignedIn{User: user.User{ID: l.UserID}, RecoveryUsed: signedIn.RecoveryUsed}
	if errors.Is(err, ErrWrongCode) && left == 0 {
		_, _, cancelErr := s.options.Pending.Cancel(ctx, token)
		err = errors.Join(err, cancelErr)
	}
	if err != nil {
		return failed, err
	}

	// 3. Complete the login, unless another request has completed or cancelled it.
	if err := s.options.Pending.Finish(ctx, token, signedIn.Session.ID); err != nil {
		if endErr := s.sessions.AbandonByID(ctx, signedIn.Session.ID, session.LoggedOut); endErr != nil {
			s.log.ErrorContext(ctx, "cannot end the session of a login that was not completed", "userId", l.UserID, "error", endErr)
		}

		return failed, s.noPending(ctx, err)
	}

	return signedIn, nil
}

// noPending returns ErrNoPendingLogin instead of pending.ErrNone, and logs the reason if there is one. It
// returns other errors unchanged.
func (s *Service) noPending(ctx context.Context, err error) error {
	if !errors.Is(err, pending.ErrNone) {
		return err
	}

	if errors.Is(err, pending.ErrUntrusted) {
		s.log.WarnContext(ctx, "pending login rejected: signed with another SESSION_SECRET or tampered with", "error", err)
	}

	return ErrNoPendingLogin
}

// beginFromPending begins the session of a pending login. It also reports with an error whether a recovery
// code was used.
func (s *Service) beginFromPending(
	ctx context.Context, l pending.Login, code Code, trust bool, client Client,
) (SignedIn, error) {
	var use user.FactorUse
	proof := ""
	recoveryUsed := false
	generation := session.ParseGeneration(l.Generation)

	signedIn, err := s.signIn(ctx, client, attempt{
		userID:     l.UserID,
		generation: &generation,
		first:      session.Method{Method: l.Method, Provider: l.Provider, At: l.At},
		second:     code.method(),
		persistent: l.Persistent,
		prove: func() (user.User, error) {
			u, err := s.pendingUser(ctx, l)
			if err != nil {
				return user.User{}, err
			}

			use, err = s.checkCode(ctx, u, code, client.Client)

			return u, err
		},
		record: func(u user.User) (user.User, error) {
			use.IsLogin = true
			if trust {
				use.Trust, proof = s.newTrust(u, client.Client)
			}

			used, err := s.recordLogin(ctx, u, l, use)
			if err == nil && code.Recovery != "" {
				recoveryUsed = true
				s.notifyOfRecovery(ctx, used, client.Client)
			}

			return used, err
		},
	})
	signedIn.RecoveryUsed = recoveryUsed
	if errors.Is(err, ErrBadCredentials) {
		err = ErrNoPendingLogin // the account or its sessions have changed
	}
	if err == nil {
		signedIn.TrustProof = proof
	}

	return signedIn, err
}

// recordLogin uses the second factor of a login. Errors: user.ErrNotFound if the account or the external
// account has changed; ErrWrongCode if the code was used at the same time; user.ErrUnavailable.
func (s *Service) recordLogin(ctx context.Context, u user.User, l pending.Login, use user.FactorUse) (user.User, error) {
	if l.Subject != "" {
		claims := user.Claims{Issuer: l.Issuer, Subject: l.Subject}
		if err := s.users.RecordIdentityLogin(ctx, u.ID, claims); err != nil {
			return user.User{}, err
		}
	}

	used, err := s.users.UseFactor(ctx, u, use)
	if errors.Is(err, user.ErrNotFound) {
		if _, changed := s.pendingUser(ctx, l); changed != nil {
			return user.User{}, changed
		}

		return user.User{}, ErrWrongCode
	}

	return used, err
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

// StepUp is what a signed-in user proves again. At least one member is set.
type StepUp struct {
	Password string
	Code     *Code
}

// SteppedUp is the result of a step-up.
type SteppedUp struct {
	Session *session.Session
	Token   string
	// RecoveryUsed is set if a recovery code was used, even if the step-up failed afterwards.
	RecoveryUsed bool
}

// StepUp checks the password of a signed-in user, the code of a second factor, or both. It updates the
// times of these methods in the session and gives it a new token (OWASP ASVS 5.0 7.5.1). Errors: the errors
// of CheckPassword and of package session; ErrWrongCode, possibly joined with ErrFactorDisabled;
// ErrNoFactor, ErrFactorsUnavailable.
func (s *Service) StepUp(ctx context.Context, caller Caller, in StepUp) (SteppedUp, error) {
	var result SteppedUp
	var methods []string

	if in.Password != "" {
		if _, err := s.CheckPassword(ctx, caller, in.Password); err != nil {
			return result, err
		}
		methods = append(methods, session.Password)
	}

	if in.Code != nil {
		if err := s.proveSecond(ctx, caller, *in.Code); err != nil {
			return result, err
		}
		methods = append(methods, in.Code.method())
		result.RecoveryUsed = in.Code.Recovery != ""
	}

	var err error
	result.Session, result.Token, err = s.sessions.Reauthenticate(ctx, methods...)

	return result, err
}

// proveSecond checks and uses the code of a second factor of a signed-in user.
func (s *Service) proveSecond(ctx context.Context, caller Caller, code Code) error {
	u, err := s.activeUser(ctx, caller.UserID)
	if err != nil {
		return err
	}
	if !u.HasFactor() {
		return ErrNoFactor
	}

	use, err := s.checkCode(ctx, u, code, caller.Client)
	if err != nil {
		return err
	}

	used, err := s.users.UseFactor(ctx, u, use)
	if errors.Is(err, user.ErrNotFound) {
		return ErrWrongCode // it was used at the same time
	}
	if err == nil && code.Recovery != "" {
		s.notifyOfRecovery(ctx, used, caller.Client)
	}

	return err
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
