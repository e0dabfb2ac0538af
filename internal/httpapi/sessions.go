package httpapi

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/session"
)

// listedSession is one session in the list of the user's own.
type listedSession struct {
	ID            string    `json:"id"`
	Current       bool      `json:"current"`
	CreatedAt     time.Time `json:"createdAt"`
	LastSeenAt    time.Time `json:"lastSeenAt"`
	IdleExpiresAt time.Time `json:"idleExpiresAt"`
	ExpiresAt     time.Time `json:"expiresAt"`
	IP            string    `json:"ip"`
	UserAgent     string    `json:"userAgent"`
	Device        string    `json:"device"`
}

// listSessions answers GET /auth/sessions.
func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	live, err := s.sessions.List(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	listed := make([]listedSession, len(live))
	for i, l := range live {
		listed[i] = listedSession{
			ID: l.Handle, Current: l.Handle == current.Handle, CreatedAt: l.CreatedAt, LastSeenAt: l.LastSeenAt,
			IdleExpiresAt: l.IdleExpiresAt, ExpiresAt: l.ExpiresAt, IP: l.IP, UserAgent: l.UserAgent(), Device: session.Device(l.UserAgent()),
		}
	}
	return writeJSON(w, http.StatusOK, struct {
		Sessions []listedSession `json:"sessions"`
	}{listed})
}

// revokeSession answers DELETE /auth/sessions/{id}. The one that asks is logged
// out; one of another user is as unknown as one that never was.
func (s *Server) revokeSession(w http.ResponseWriter, r *http.Request) error {
	current, id := s.current(r), chi.URLParam(r, "id")
	if id == current.Handle {
		if _, err := s.sessions.EndToken(r.Context(), s.cookie.token(r), session.LoggedOut); err != nil {
			return err
		}
		s.recordOf(w, r, activity.Logout)
		s.forget(w)
	} else if err := s.sessions.Revoke(r.Context(), current.UserID, id, session.Revoked); errors.Is(err, session.ErrNotFound) {
		return errNoSession
	} else if err != nil {
		return err
	} else {
		s.auth.CancelEmailChange(r.Context(), current.UserID)
		s.record(w, r, activity.Event{Name: activity.SessionRevoked, UserID: current.UserID, SessionID: id})
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// revokeSessions answers DELETE /auth/sessions?scope=others|all.
func (s *Server) revokeSessions(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	keep := s.cookie.token(r)
	switch scope := r.URL.Query()["scope"]; {
	case len(scope) == 0, len(scope) == 1 && scope[0] == "others":
	case len(scope) == 1 && scope[0] == "all":
		keep = ""
	default:
		return invalidFields(fieldError{"scope", "invalid", "must be others or all"})
	}
	n, err := s.sessions.RevokeAll(r.Context(), current.UserID, keep, session.Revoked)
	if err == nil {
		s.auth.CancelEmailChange(r.Context(), current.UserID)
	}
	if err == nil && keep == "" {
		// By its token, too: the answer clears the cookie, so it must have ended.
		_, err = s.sessions.EndToken(r.Context(), s.cookie.token(r), session.Revoked)
	}
	if err != nil {
		return err
	}
	s.record(w, r, activity.Event{Name: activity.SessionsRevoked, UserID: current.UserID, SessionID: current.Handle, Count: n})
	if keep == "" {
		s.forget(w)
	}
	return writeJSON(w, http.StatusOK, struct {
		Revoked int `json:"revoked"`
	}{n})
}

// maxUserAgent is how much of a User-Agent is kept, in bytes.
const maxUserAgent = 256

// userAgent is what the client says it is, cut and fit to be shown.
func userAgent(r *http.Request) string {
	ua := r.UserAgent()
	return strings.ToValidUTF8(ua[:min(len(ua), maxUserAgent)], "")
}
