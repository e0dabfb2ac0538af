package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// namespace is what the name of every metric of ours begins with.
const namespace = "latchkey"

// Outcomes of a login, for Metrics.Login.
const (
	// LoginSuccess is one after which there is a session.
	LoginSuccess = "success"
	// LoginFailed is a proof that was wrong, or an account that may not log in.
	LoginFailed = "failed"
	// LoginBusy is one that was refused because too many passwords wait to be hashed.
	LoginBusy = "busy"
)

// Outcomes of a try to send a letter, for Metrics.Mail.
const (
	// MailSent is a letter that a mail server has taken.
	MailSent = "sent"
	// MailRetried is one that will be tried again.
	MailRetried = "retried"
	// MailDropped is one that will not.
	MailDropped = "dropped"
)

// Metrics counts what the server does, in the names and units of Prometheus: seconds,
// and _total for what only grows. It is safe for concurrent use. A nil *Metrics does
// nothing.
type Metrics struct {
	registry     *prometheus.Registry
	routes, ways declared // ways to sign in

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	inFlight       prometheus.Gauge

	begun, ended, logins, limits, mails *prometheus.CounterVec

	hashes   prometheus.Counter
	hashWait prometheus.Histogram

	redis, mongo          commands
	mongoOpen, mongoInUse atomic.Int64
}

// Bounds of the histograms, in seconds.
var (
	requestBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	hashBounds    = []float64{.001, .01, .05, .1, .25, .5, 1, 2.5, 5}
	redisBounds   = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .8}
	mongoBounds   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
)

// NewMetrics returns Metrics with a registry of their own: the default one is open to
// every package that is linked in.
func NewMetrics() *Metrics {
	f := factory{prometheus.NewRegistry()}
	f.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newBuildInfo())
	m := &Metrics{
		registry: f.Registry,
		requests: f.counters("http_requests_total", "HTTP requests that were answered.", "method", "route", "status"),
		requestSeconds: f.histograms("http_request_duration_seconds",
			"Time from the head of an HTTP request to the end of its answer.", requestBounds, "method", "route"),
		inFlight: f.gauge("http_requests_in_flight", "HTTP requests that are being answered."),
		begun:    f.counters("sessions_begun_total", "Sessions that began, by how the user proved who they are.", "method"),
		ended: f.counters("sessions_ended_total",
			"Sessions that ended, by why. One that time has ended counts with each request that comes with its cookie.", "reason"),
		logins:   f.counters("logins_total", "Logins by what came of them.", "outcome"),
		limits:   f.counters("limit_hits_total", "Times that a request found a limit used up.", "budget", "scope"),
		hashes:   f.counter("password_hashes_total", "Passwords that were hashed or compared."),
		hashWait: f.histogram("password_hash_wait_seconds", "Time that a password waited for its turn to be hashed.", hashBounds),
		mails:    f.counters("mails_sent_total", "Tries to send a letter, by what came of them.", "kind", "outcome"),
		redis:    f.commands("redis", "Redis", redisCommands, redisBounds),
		mongo:    f.commands("mongo", "MongoDB", mongoCommands, mongoBounds),
	}
	m.beginAtZero()
	return m
}

// beginAtZero makes the series that alerts count. One that begins at its first event
// has no rate then: Prometheus sees no rise from what was not there.
func (m *Metrics) beginAtZero() {
	for outcome := range loginOutcomes {
		m.logins.WithLabelValues(outcome)
	}
	for reason := range endReasons {
		m.ended.WithLabelValues(reason)
	}
	for budget := range budgets {
		m.limits.WithLabelValues(budget, "address")
		m.limits.WithLabelValues(budget, "account")
	}
	for _, scope := range []string{"device", "account-devices", "address-devices"} {
		m.limits.WithLabelValues("login", scope)
	}
	for kind := range mailKinds {
		m.mails.WithLabelValues(kind, MailDropped)
	}
}

// Routes declares the patterns of the router, as "/auth/sessions/{id}". A request of a
// route that was not declared counts as one of "other".
func (m *Metrics) Routes(patterns ...string) {
	if m != nil {
		m.routes.add(patterns...)
	}
}

// SignInMethods declares the ways to sign in: "password", and the names of providers.
func (m *Metrics) SignInMethods(names ...string) {
	if m == nil {
		return
	}
	m.ways.add(names...)
	for _, name := range names {
		m.begun.WithLabelValues(name)
	}
}

// Request counts a request that was answered. route is the router's pattern, or "" where
// none fits; took is the time from its head to the end of the answer.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	method, route = httpMethods.of(method), m.routes.of(route)
	m.requests.WithLabelValues(method, route, statusText(status)).Inc()
	m.requestSeconds.WithLabelValues(method, route).Observe(took.Seconds())
}

// InFlight changes the number of requests that are being answered: by 1 where one
// begins and by -1 where it ends.
func (m *Metrics) InFlight(change int) {
	if m != nil {
		m.inFlight.Add(float64(change))
	}
}

// SessionBegun counts a session by how it began, see SignInMethods.
func (m *Metrics) SessionBegun(method string) {
	if m != nil {
		m.begun.WithLabelValues(m.ways.of(method)).Inc()
	}
}

// SessionsEnded counts n sessions that ended for a reason, a value of session.Reason.
func (m *Metrics) SessionsEnded(reason string, n int) {
	if m != nil && n > 0 {
		m.ended.WithLabelValues(endReasons.of(reason)).Add(float64(n))
	}
}

// Login counts a login by its outcome: LoginSuccess, LoginFailed or LoginBusy.
func (m *Metrics) Login(outcome string) {
	if m != nil {
		m.logins.WithLabelValues(loginOutcomes.of(outcome)).Inc()
	}
}

// LimitHit counts a limit that a request found used up: which budget it was, and whose,
// for example "login" and "address". One request may find several.
func (m *Metrics) LimitHit(budget, scope string) {
	if m != nil {
		m.limits.WithLabelValues(budgets.of(budget), scopes.of(scope)).Inc()
	}
}

// PasswordHashed counts a password that was hashed or compared, after it has waited for
// its turn.
func (m *Metrics) PasswordHashed(waited time.Duration) {
	if m == nil {
		return
	}
	m.hashes.Inc()
	m.hashWait.Observe(waited.Seconds())
}

// Mail counts a try to send a letter of a kind, a value of mail.Kind, by its outcome:
// MailSent, MailRetried or MailDropped.
func (m *Metrics) Mail(kind, outcome string) {
	if m != nil {
		m.mails.WithLabelValues(mailKinds.of(kind), mailOutcomes.of(outcome)).Inc()
	}
}
