package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"latchkey/internal/session"
)

// public lists the routes that answer without a session, each with what limits it. A
// route that is not here is behind one: forgetting it here is the safe mistake.
var public = map[string]budget{
	"POST /auth/register":           registrations,
	"POST /auth/login":              logins,
	"POST /auth/password/forgot":    mails,
	"POST /auth/password/reset":     tokens,
	"POST /auth/email/verify":       tokens,
	"GET /auth/providers":           unlimited,
	"GET /auth/{provider}":          signIns,
	"GET /auth/{provider}/callback": callbacks,
	"GET /healthz":                  unlimited,
	"GET /readyz":                   unlimited,
	"GET /docs":                     unlimited,
	"GET /docs/*":                   unlimited,
	"GET /openapi.json":             unlimited,
	"GET /postman.json":             unlimited,
}

// costly lists the routes behind a session by which who has found one open could try
// passwords or flood a mailbox.
var costly = map[string]budget{
	"POST /auth/password/change": passwords,
	"POST /auth/step-up":         passwords,
	"POST /auth/email/resend":    mails,
	"POST /auth/email/change":    mails,

	"POST /auth/password/set":          passwords,
	"POST /auth/identities/{provider}": signIns,
}

// logoutRoute is the one route that needs no more than to have had a session a
// moment ago: see authenticated.
const logoutRoute = "POST /auth/logout"

// routes lists every URL of the API.
func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(s.leaving, identify, secureHeaders(s.cookie.Secure), s.clientIP(), s.observed, s.origins.cors, s.modest, middleware.GetHead)
	r.NotFound(s.handle(func(http.ResponseWriter, *http.Request) error { return errNoRoute }))
	r.MethodNotAllowed(s.handle(methodNotAllowed(r)))

	s.route(r, "POST /auth/register", accepts(s.register))
	s.route(r, "POST /auth/login", accepts(s.login))
	s.route(r, logoutRoute, bare(s.logout))
	s.route(r, "GET /auth/me", bare(s.me))
	s.route(r, "GET /auth/session", bare(s.session))
	s.route(r, "GET /auth/verify", bare(s.verify))
	s.route(r, "POST /auth/rotate-session", bare(s.rotate))
	s.route(r, "GET /auth/sessions", bare(s.listSessions))
	s.route(r, "DELETE /auth/sessions", bare(s.revokeSessions))
	s.route(r, "DELETE /auth/sessions/{id}", bare(s.revokeSession))
	s.route(r, "GET /auth/activity", bare(s.listActivity))

	s.route(r, "POST /auth/step-up", accepts(s.stepUp))
	s.route(r, "POST /auth/password/change", accepts(s.changePassword))
	s.route(r, "POST /auth/password/set", accepts(s.setPassword))
	s.route(r, "POST /auth/password/forgot", accepts(s.forgotPassword))
	s.route(r, "POST /auth/password/reset", accepts(s.resetPassword))
	s.route(r, "POST /auth/email/verify", accepts(s.verifyEmail))
	s.route(r, "POST /auth/email/resend", bare(s.resendVerification))
	s.route(r, "POST /auth/email/change", accepts(s.changeEmail))

	s.route(r, "GET /auth/providers", bare(s.listProviders))
	for _, p := range s.providers.Providers() {
		s.routeAt(r, "/auth/"+p.Name, "GET /auth/{provider}", s.visited(s.startSignIn(p.Name)))
		s.routeAt(r, "/auth/"+p.Name+"/callback", "GET /auth/{provider}/callback", s.returning(s.finishSignIn(p.Name)))
	}
	s.route(r, "GET /auth/identities", bare(s.listIdentities))
	s.route(r, "POST /auth/identities/{provider}", accepts(s.startLink))
	s.route(r, "DELETE /auth/identities/{provider}", bare(s.unlink))

	s.route(r, "GET /profile", bare(s.me))
	s.route(r, "PUT /profile", accepts(s.updateProfile))
	s.route(r, "DELETE /profile", bare(s.deleteProfile))

	s.route(r, "GET /healthz", bare(s.healthz))
	s.route(r, "GET /readyz", bare(s.readyz))
	s.route(r, "GET /docs", bare(s.docs))
	s.route(r, "GET /docs/*", bare(s.docsAsset))
	s.route(r, "GET /openapi.json", bare(document(openAPI)))
	s.route(r, "GET /postman.json", bare(document(postman)))
	return r
}

// storeBudget is how long one request may wait for the session store in all. What is
// left of the second that the contract promises is for taking back what was half done.
const storeBudget = 700 * time.Millisecond

// bounded keeps the time that a handler waits for the session store within its budget,
// however many commands it takes. One behind a session has that from authenticated.
func bounded(next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		return next(w, r.WithContext(session.WithBudget(r.Context(), storeBudget)))
	}
}

// clientIP notes whose request it is. chi's RealIP would believe anyone.
func (s *Server) clientIP() func(http.Handler) http.Handler {
	if len(s.proxies) == 0 {
		return middleware.ClientIPFromRemoteAddr
	}
	return middleware.ClientIPFromXFF(s.proxies...)
}

// route registers an endpoint under "METHOD /path", behind a session unless the
// list says otherwise. chi runs the middleware of a router before it knows the
// route, so this is where the list can be honoured.
func (s *Server) route(r chi.Router, name string, e endpoint) {
	_, path, _ := strings.Cut(name, " ")
	s.routeAt(r, path, name, e)
}

// routeAt is route for one of the paths that name stands for: a provider that is not
// configured has none.
func (s *Server) routeAt(r chi.Router, path, name string, e endpoint) {
	limit, open := public[name]
	if !open {
		limit = costly[name]
	}
	h := e(func(w http.ResponseWriter, r *http.Request, account string) error {
		if open || limit == unlimited {
			return s.admit(w, r, attempt{budget: limit, account: account})
		}
		userID := s.current(r).UserID
		return s.admit(w, r, attempt{budget: limit, account: userID, userID: userID})
	})
	if open {
		h = bounded(h)
	} else {
		h = s.authenticated(h, name == logoutRoute)
	}
	h = s.guarded(whole(h))
	method, _, _ := strings.Cut(name, " ")
	s.metrics.Routes(path)
	r.Method(method, path, s.handle(h))
}

// methodNotAllowed answers for a path that exists under other methods, and names
// them in Allow (RFC 9110 section 15.5.6). chi knows them and does not tell a
// handler of ours.
func methodNotAllowed(routes chi.Routes) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			look := method
			if method == "HEAD" {
				look = "GET"
			}
			if routes.Match(chi.NewRouteContext(), look, r.URL.Path) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return errNoRoute // chi says so of methods that it has never heard of
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return errMethodNotAllowed
	}
}
