package httpapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-playground/validator/v10"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/brand"
	"latchkey/internal/device"
	"latchkey/internal/locale"
	"latchkey/internal/oauth"
	"latchkey/internal/origin"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// Server handles requests to the API. Create one with New.
type Server struct {
	users      *user.Store
	auth       *auth.Service
	sessions   *session.Manager
	cookie     Cookie
	origins    *origins
	devices    devices
	trust      trustCookies
	flows      flowCookies
	limiter    *device.Limiter
	limits     Limits
	rules      *validator.Validate
	languages  *locale.Set
	activity   *activity.Recorder
	providers  *oauth.Service
	clientIPs  *clientIPs
	log        *slog.Logger
	now        func() time.Time
	metrics    *telemetry.Metrics
	tracing    *telemetry.Tracing
	bodies     bodies
	handler    http.Handler
	checks     memoryChecks
	openAPI    func() ([]byte, error) // the document, generated at the first call
	readiness  readiness
	pages      *builtInPages // nil if they are off
	refused    refusedOrigins
	signInPage string

	pendingCookie Cookie // of logins that wait for a second factor

	draining        atomic.Bool
	lookupFailed    atomic.Int64 // when knownVerified last could not read an account, in Unix nanoseconds
	busyLogged      atomic.Int64 // the minute in which worthLogging last allowed an overload to be logged
	minPassword     int
	stepUpMaxAge    time.Duration
	warnUnreachable sync.Once // in offerSignIn
	redisBudget     time.Duration
	verifiedOnly    bool // see Options.RequireVerifiedEmail
	brand           brand.Brand
}

// Options are the settings of a Server.
type Options struct {
	Cookie Cookie
	// Origins are the origins, besides this server's own, whose pages may call the API with the
	// cookie.
	Origins origin.Trusted
	// TrustedProxies are the prefixes (CIDR) of the proxies whose X-Forwarded-For headers are
	// used. Without any, the client is the peer of the connection.
	TrustedProxies []string
	// SignInPage is the URL of the page to which GET /auth/verify sends signed-out browsers. Empty
	// means that there is none.
	SignInPage string
	// Limits are the rate limits, which Limiter enforces.
	Limits  Limits
	Limiter *ratelimit.Limiter
	// Secrets sign the proofs of devices. The first signs new proofs, and all verify them.
	Secrets [][]byte
	// CheckRedis and CheckMongo return an error if requests cannot use the store. GET /readyz calls
	// them at most once a second.
	CheckRedis, CheckMongo func(context.Context) error
	// MinPassword is the minimum length of new passwords in characters, as in auth.Rules. Zero
	// means auth.MinPasswordLength.
	MinPassword int
	// Languages are the languages that accounts may have. Nil means the shipped ones.
	Languages *locale.Set
	// Activity records the security events.
	Activity *activity.Recorder
	// Providers are the OAuth providers. Nil means none.
	Providers *oauth.Service
	// Pages turns on the built-in pages. Nil means off.
	Pages *Pages
	// StepUpMaxAge is how recently users must have proved their identity for sensitive changes.
	StepUpMaxAge time.Duration

	// RequireVerifiedEmail closes all routes with a session to users whose email is not verified, except
	// those that are open to them: see route.forUnverified.
	RequireVerifiedEmail bool

	// Brand holds the name and the look of the product.
	Brand brand.Brand

	// RedisBudget is the total time that one request may wait for Redis.
	RedisBudget time.Duration
	// Now is the clock. Nil means time.Now.
	Now     func() time.Time
	Metrics *telemetry.Metrics
	Tracing *telemetry.Tracing
	Log     *slog.Logger
}

// New returns a Server. It returns an error if Options.Origins are invalid.
func New(users *user.Store, accounts *auth.Service, sessions *session.Manager, o Options) (*Server, error) {
	s := &Server{
		users:      users,
		auth:       accounts,
		sessions:   sessions,
		cookie:     o.Cookie,
		devices:    newDevices(o.Cookie, o.Secrets),
		flows:      flowCookies{o.Cookie.companion("oauth-")},
		trust:      trustCookies{o.Cookie.companion("trust-")},
		limiter:    device.NewLimiter(o.Limiter, o.Limits.Account, o.Limits.Device),
		limits:     o.Limits,
		readiness:  readiness{checkRedis: o.CheckRedis, checkMongo: o.CheckMongo},
		languages:  cmp.Or(o.Languages, locale.ShippedSet()),
		activity:   o.Activity,
		providers:  o.Providers,
		signInPage: o.SignInPage,

		pendingCookie: o.Cookie.companion("mfa"),

		log:          o.Log,
		now:          o.Now,
		metrics:      o.Metrics,
		tracing:      o.Tracing,
		minPassword:  cmp.Or(o.MinPassword, auth.MinPasswordLength),
		stepUpMaxAge: o.StepUpMaxAge,
		redisBudget:  o.RedisBudget,
		verifiedOnly: o.RequireVerifiedEmail,
		brand:        o.Brand.WithDefaults(),
	}
	s.clientIPs = newClientIPs(o.TrustedProxies, s.log)
	s.bodies.clientIPs = s.clientIPs
	s.rules = newRules(s.minPassword, s.languages)
	if s.now == nil {
		s.now = time.Now
	}

	if s.providers == nil {
		s.providers = oauth.New(nil, nil, nil, oauth.Options{})
	}

	var err error
	if s.origins, err = newOrigins(o.Origins, o.Cookie.Secure); err != nil {
		return nil, err
	}

	if err := s.usePages(o.Pages); err != nil {
		return nil, err
	}

	declareBudgets(s.metrics)
	s.metrics.Factors(string(auth.TOTPFactor), string(auth.RecoveryCodeFactor))
	s.metrics.SignInMethods(session.Method{Method: session.Password}.Label())
	for _, p := range s.providers.Providers() {
		s.metrics.SignInMethods(p.Name)
	}

	s.openAPI = sync.OnceValues(s.generateOpenAPI)
	s.handler = s.routes()
	s.checks = s.newMemoryChecks()

	return s, nil
}

// Drain makes every later response close its connection and GET /readyz fail, so that clients
// and load balancers move to another server before this one stops. Idle connections stay open:
// a client may just be sending a request on one, and could not know whether it was processed.
func (s *Server) Drain() { s.draining.Store(true) }

// closeConnection adds Connection: close to responses during shutdown, and to the responses to
// chunked requests and to HTTP/1.0 requests. Both may have a Content-Length as well as a
// Transfer-Encoding, of which net/http ignores one: the Content-Length of a chunked request, and
// the Transfer-Encoding of an HTTP/1.0 request. A proxy that uses the ignored header would find
// other requests on the connection than this server does (request smuggling). Therefore nothing may
// follow on the connection (RFC 9112 sections 6.1 and 11.2). Package app refuses requests with both
// headers, but not on TLS connections.
func (s *Server) closeConnection(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		isAmbiguous := len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1)
		if isAmbiguous || s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.answerFromMemory(w, r) {
		s.handler.ServeHTTP(w, r)
	}
}
