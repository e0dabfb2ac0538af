package httpapi

import (
	"errors"
	"net/http"

	"latchkey/internal/auth"
	"latchkey/internal/device"
	"latchkey/internal/session"
)

// reasonOf returns why a request has no session, if it is known.
func reasonOf(err error) session.Reason {
	var ended *session.EndedError
	switch {
	case errors.As(err, &ended):
		return ended.Reason
	case errors.Is(err, session.ErrAmbiguous):
		return session.SeveralSessions
	}

	return ""
}

// current returns the session of an authenticated request.
func (s *Server) current(r *http.Request) *session.Session {
	current, _ := s.sessions.FromContext(r.Context())

	return current
}

// clientOf returns the client of a request.
func (s *Server) clientOf(r *http.Request) session.Client {
	return session.Client{IP: s.clientIPs.of(r), Device: device.Name(userAgent(r))}
}

// signInClient returns the client of a sign-in, including the sessions that it replaces.
func (s *Server) signInClient(r *http.Request) auth.Client {
	return auth.Client{
		Client:      s.clientOf(r),
		Locale:      s.languages.FromHeader(r.Header.Get("Accept-Language")),
		SessionIDs:  session.IDsOf(s.cookie.values(r)),
		KnownDevice: usesKnownDevice(r),
		Proofs:      s.devices.proofs(r),
		TrustProof:  func(userID string) string { return s.trust.proof(r, userID) },
	}
}

// caller returns the user of an authenticated request.
func (s *Server) caller(r *http.Request) auth.Caller {
	current := s.current(r)

	return auth.Caller{
		UserID:    current.UserID,
		SessionID: current.ID,
		Client:    s.clientOf(r),
		Proofs:    s.devices.proofs(r),
	}
}
