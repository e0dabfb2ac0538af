package httpapi

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// Server answers the API. Make one with New.
type Server struct {
	users    *user.Store
	auth     *auth.Service
	sessions *session.Manager
	cookie   Cookie
	origins  *origins
	devices  devices
	flows    flowCookies
	limiter  *ratelimit.Limiter
	limits   Limits
	activity *activity.Recorder
	// providers are those to sign in with.
	providers *oauth.Service
	proxies   []string
	log       *slog.Logger
	now       func() time.Time
	metrics   *telemetry.Metrics
	tracing   *telemetry.Tracing
	handler   http.Handler

	draining     atomic.Bool
	busyLogged   atomic.Int64 // the minute in which ErrBusy was last logged
	stepUpMaxAge time.Duration
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
	// Limits say how often something may be asked for, and Limiter counts.
	Limits  Limits
	Limiter *ratelimit.Limiter
	// Secrets key the proofs of devices; the first makes new ones, all are accepted.
	Secrets [][]byte
	// Activity takes the security events.
	Activity *activity.Recorder
	// Providers are those to sign in with; nil is none.
	Providers *oauth.Service
	// StepUpMaxAge is how long a proof of who someone is counts for what needs a new one.
	StepUpMaxAge time.Duration
	// Now is the clock; nil is time.Now.
	Now     func() time.Time
	Metrics *telemetry.Metrics
	Tracing *telemetry.Tracing
	Log     *slog.Logger
}

// New returns a Server on its parts. An error is about Options.Origins.
func New(users *user.Store, passwords *auth.Service, sessions *session.Manager, o Options) (*Server, error) {
	s := &Server{
		users: users, auth: passwords, sessions: sessions, cookie: o.Cookie, devices: newDevices(o.Cookie, o.Secrets), flows: newFlowCookies(o.Cookie),
		limiter: o.Limiter, limits: o.Limits, activity: o.Activity, providers: o.Providers, proxies: o.TrustedProxies,
		stepUpMaxAge: o.StepUpMaxAge, now: o.Now, metrics: o.Metrics, tracing: o.Tracing, log: o.Log,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.providers == nil {
		s.providers = oauth.New(nil, nil, oauth.Options{})
	}
	var err error
	if s.origins, err = newOrigins(o.Origins, o.Cookie.Secure); err != nil {
		return nil, err
	}
	s.metrics.SignInMethods(methodPassword)
	for _, p := range s.providers.Providers() {
		s.metrics.SignInMethods(p.Name)
	}
	s.handler = s.routes()
	return s, nil
}

// Drain has every answer from now on close its connection, and GET /readyz say that the
// server is not ready, so that clients and balancers go elsewhere before it stops.
// Connections that are idle stay open: a client may just be sending a request on one, and
// would not know whether it was done.
func (s *Server) Drain() { s.draining.Store(true) }

// leaving closes connections behind their answers while the server drains.
func (s *Server) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
