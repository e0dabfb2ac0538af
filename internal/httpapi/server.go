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
	origins  *origins
	proxies  []string
	log      *slog.Logger
	handler  http.Handler
}

// Options are the settings of a Server.
type Options struct {
	Cookie Cookie
	// Origins are those of the pages that may call the API with the cookie, beside this
	// server's own: scheme, host and port as browsers write them.
	Origins []string
	// TrustedProxies are the prefixes (CIDR) of the proxies whose X-Forwarded-For is
	// believed; with none the client is whoever connects.
	TrustedProxies []string
	Log            *slog.Logger
}

// New returns a Server on its parts. An error is about Options.Origins.
func New(users *user.Store, passwords *auth.Service, sessions *session.Manager, o Options) (*Server, error) {
	s := &Server{users: users, auth: passwords, sessions: sessions, cookie: o.Cookie, proxies: o.TrustedProxies, log: o.Log}
	var err error
	if s.origins, err = newOrigins(o.Origins, o.Cookie.Secure); err != nil {
		return nil, err
	}
	s.handler = s.routes()
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
