package httpapi

import (
	"net/http"

	"latchkey/internal/session"
)

// authenticated puts a handler behind a session. A request without a cookie is
// answered without asking Redis; a store that is away is not a session that has
// ended, and the cookie stays as it is.
func (s *Server) authenticated(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, err := s.sessions.Load(r.Context(), s.cookie.token(r))
		if err != nil {
			return err
		}
		return next(w, r.WithContext(ctx))
	}
}

// current returns the session of a request behind authenticated.
func (s *Server) current(r *http.Request) *session.Session {
	current, _ := s.sessions.FromContext(r.Context())
	return current
}
