package httpapi

import (
	"net/http"
	"time"

	"latchkey/internal/activity"
)

// sessionAnswer describes the session of the caller. Its id is the handle: the
// token is in no body.
type sessionAnswer struct {
	Authenticated   bool      `json:"authenticated"`
	SessionID       string    `json:"sessionId"`
	UserID          string    `json:"userId"`
	Email           string    `json:"email"`
	CreatedAt       time.Time `json:"createdAt"`
	LastSeenAt      time.Time `json:"lastSeenAt"`
	IdleExpiresAt   time.Time `json:"idleExpiresAt"`
	ExpiresAt       time.Time `json:"expiresAt"`
	AuthenticatedAt time.Time `json:"authenticatedAt"`
	Methods         []string  `json:"methods"`
}

// session answers GET /auth/session, from Redis alone.
func (s *Server) session(w http.ResponseWriter, r *http.Request) error {
	c := s.current(r)
	return writeJSON(w, http.StatusOK, sessionAnswer{
		Authenticated: true, SessionID: c.Handle, UserID: c.UserID, Email: c.Email,
		CreatedAt: c.CreatedAt, LastSeenAt: c.LastSeenAt,
		IdleExpiresAt: c.IdleExpiresAt, ExpiresAt: c.ExpiresAt,
		AuthenticatedAt: c.AuthenticatedAt, Methods: c.Methods,
	})
}

// verify answers GET /auth/verify, for a reverse proxy that asks before it lets a
// request through to another application: who it is stands in headers. The proxy must
// drop headers of these names that come from outside, also with _ or . for -. An
// account is known by its id: its address may not be verified, and a session does not
// say whether it is.
func (s *Server) verify(w http.ResponseWriter, r *http.Request) error {
	current := s.current(r)
	h := w.Header()
	h.Set("X-Auth-User-Id", current.UserID)
	h.Set("X-Auth-Email", current.Email)
	h.Set("X-Auth-Session-Id", current.Handle)
	return writeJSON(w, http.StatusOK, struct {
		Authenticated bool `json:"authenticated"`
	}{true})
}

// rotate answers POST /auth/rotate-session: the same session under a new token.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request) error {
	next, token, err := s.sessions.Rotate(r.Context())
	if err != nil {
		return err
	}
	s.cookie.set(w, next, token)
	s.record(w, r, activity.Event{Name: activity.SessionRotated, UserID: next.UserID, SessionID: next.Handle})
	return writeJSON(w, http.StatusOK, struct {
		Message      string `json:"message"`
		SessionID    string `json:"sessionId"`
		OldSessionID string `json:"oldSessionId"`
	}{"Session rotated", next.Handle, s.current(r).Handle})
}
