package httpapi

import (
	"errors"
	"net/http"
	"time"

	"latchkey/internal/session"
	"latchkey/internal/user"
)

// requireVerifiedEmail refuses a request to a route that is not open to users whose email is not
// verified. Errors: errEmailNotVerified, user.ErrUnavailable, and an EndedError if the account is gone.
func (s *Server) requireVerifiedEmail(r *http.Request, rt route) error {
	if !s.verifiedOnly || rt.access != withSession || rt.forUnverified {
		return nil
	}

	verified, err := s.hasVerifiedEmail(r)
	if err != nil {
		return s.endIfAccountGone(r, err)
	}
	if !verified {
		return errEmailNotVerified
	}

	return nil
}

// hasVerifiedEmail reports whether the email of the signed-in user is verified. It trusts a session that
// has a verified email: an email stays verified until another one replaces it. Otherwise it reads the
// account, because the user may have just used the link in the email. While the email of the account is
// being changed, the session still has the old one, which is not verified. Errors:
// user.ErrNotFound, user.ErrUnreadable, user.ErrUnavailable.
func (s *Server) hasVerifiedEmail(r *http.Request) (bool, error) {
	current := s.current(r)
	if current.EmailVerified {
		return true, nil
	}

	shown, err := s.users.Snapshot(r.Context(), current.UserID)
	if err == nil && !shown.IsActive {
		err = user.ErrNotFound
	}
	if err != nil || !shown.EmailVerified || !isSameEmail(current.Email, shown.Email) {
		return false, err
	}

	s.sessions.RecordVerifiedEmail(r.Context())

	return true, nil
}

// lookupPause is how long knownVerified does not read accounts after a failure. A read takes about a
// second to fail while MongoDB is down, and a proxy waits for each check.
const lookupPause = 5 * time.Second

// knownVerified reports whether the email of the signed-in user is known to be verified. It is false if
// MongoDB is down and the session does not show it.
func (s *Server) knownVerified(r *http.Request) bool {
	if s.verifiedOnly {
		return true // requireVerifiedEmail has checked it
	}

	isPaused := s.now().UnixNano()-s.lookupFailed.Load() < int64(lookupPause)
	if !s.current(r).EmailVerified && isPaused {
		return false
	}

	verified, err := s.hasVerifiedEmail(r)
	if errors.Is(err, user.ErrUnavailable) {
		s.lookupFailed.Store(s.now().UnixNano())
	}

	return verified
}

// verifiedInMemory reports whether the email of a session's user is verified. known is false if the
// account must be read from MongoDB to find out.
func (s *Server) verifiedInMemory(current *session.Session) (verified, known bool) {
	if current.EmailVerified {
		return true, true
	}

	shown := s.users.SnapshotInMemory(current.UserID)
	if shown == nil || !shown.IsActive {
		return false, false
	}

	return shown.EmailVerified && isSameEmail(current.Email, shown.Email), true
}

// isSameEmail reports whether a session has the email of an account. The account may have had the email in
// another spelling when the session began: see user.Store.FixEmails.
func isSameEmail(session string, account user.Email) bool {
	if session == string(account) {
		return true
	}

	canonical, err := user.ParseEmail(session)

	return err == nil && canonical == account
}
