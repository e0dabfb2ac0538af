package httpapi

import (
	"log/slog"
	"net/http"

	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// Server answers the API. Make one with New.
type Server struct {
	users    *user.Store
	auth     *auth.Service
	sessions *session.Manager
	cookie   Cookie
	log      *slog.Logger
	handler  http.Handler
}

// New returns a Server on its parts.
func New(users *user.Store, passwords *auth.Service, sessions *session.Manager, cookie Cookie, log *slog.Logger) *Server {
	s := &Server{users: users, auth: passwords, sessions: sessions, cookie: cookie, log: log}
	s.handler = s.routes()
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
