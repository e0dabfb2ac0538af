package httpapi

import (
	"errors"
	"net/http"

	"latchkey/internal/session"
)

// authenticated puts a handler behind a session. A request without a cookie is
// answered without asking Redis; a store that is away is not a session that has
// ended, and the cookie stays as it is.
//
// With overtaken, the token that a rotation has just replaced passes, too: a
// logout that a rotation overtook must end the session all the same, or a user
// who logs out stays signed in under the new token. It can do nothing else.
func (s *Server) authenticated(next handler, overtaken bool) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx := session.WithBudget(r.Context(), storeBudget)
		loaded, err := s.sessions.Load(ctx, s.cookie.token(r))
		switch {
		case err == nil:
			ctx = loaded
		case overtaken && errors.Is(err, session.ErrReplaced):
		default:
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
