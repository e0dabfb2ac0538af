package auth

import (
	"context"
	"errors"

	"latchkey/internal/pending"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

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
