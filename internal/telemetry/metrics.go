package telemetry

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// namespace is the prefix of the names of our metrics.
const namespace = "latchkey"

// Outcomes of a login, for Metrics.Login.
const (
	// LoginSuccess means that a session was started.
	LoginSuccess = "success"
	// LoginFailed means that the password was wrong or the account is disabled.
	LoginFailed = "failed"
	// LoginBusy means that too many passwords were waiting to be hashed.
	LoginBusy = "busy"
)

// Outcomes of a check of a second factor, for Metrics.FactorChecked.
const (
	// FactorSuccess means that the code was accepted.
	FactorSuccess = "success"
	// FactorFailure means that the code was wrong, expired or used.
	FactorFailure = "failure"
)

// Outcomes of an attempt to send an email, for Metrics.Mail.
const (
	// MailSent means that a mail server has accepted the email.
	MailSent = "sent"
	// MailRetried means that the attempt failed and will be repeated.
	MailRetried = "retried"
	// MailDropped means that the attempt failed and will not be repeated.
	MailDropped = "dropped"
)

// Metrics counts what the server does. Names and units follow the conventions of Prometheus:
// durations in seconds, and the suffix _total for counters. It is safe for concurrent use. A
// nil *Metrics does nothing.
type Metrics struct {
	registry *prometheus.Registry

	// The label values that other packages declare.
	routes        values
	signInMethods values
	endReasons    values
	budgets       values
	scopes        values
	factors       values
	mailKinds     values

	requests       *prometheus.CounterVec
	requestSeconds *prometheus.HistogramVec
	inFlight       prometheus.Gauge

	sessionsStarted *prometheus.CounterVec
	sessionsEnded   *prometheus.CounterVec
	logins          *prometheus.CounterVec
	factorChecks    *prometheus.CounterVec
	limitHits       *prometheus.CounterVec
	sendAttempts    *prometheus.CounterVec
	accountsExpired prometheus.Counter

	hashes   prometheus.Counter
	hashWait prometheus.Observer

	redis      commands
	mongo      commands
	mongoOpen  atomic.Int64
	mongoInUse atomic.Int64
}

// The bounds of the histogram buckets, in seconds.
var (
	requestBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	hashBounds    = []float64{.001, .01, .05, .1, .25, .5, 1, 2.5, 5}
	redisBounds   = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .2, .4, .8}
	mongoBounds   = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
)

// NewMetrics returns Metrics with a new registry. It does not use the default registry, to which
// any imported package can add metrics.
func NewMetrics() *Metrics {
	f := factory{prometheus.NewRegistry()}
	f.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newBuildInfo())

	m := &Metrics{
		registry: f.Registry,
		requests: f.counterVec("http_requests_total",
			"HTTP requests handled, by method, route and status.", "method", "route", "status"),
		requestSeconds: f.histogramVec("http_request_duration_seconds",
			"Time from receiving the request headers to the end of the response.", requestBounds, "method", "route"),
		inFlight:        newGauge("http_requests_in_flight", "HTTP requests in progress.", nil),
		sessionsStarted: f.counterVec("sessions_started_total", "Sessions started, by sign-in method and level of authentication.", "method", "level"),
		sessionsEnded: f.counterVec("sessions_ended_total",
			"Sessions ended, by reason. An expired session is counted each time its cookie is presented.", "reason"),
		logins: f.counterVec("logins_total", "Logins, by outcome.", "outcome"),
		factorChecks: f.counterVec("factor_checks_total",
			"Codes of second factors checked at logins and step-ups, by factor and outcome.", "factor", "outcome"),
		limitHits: f.counterVec("limit_hits_total",
			"Requests that exceeded a rate limit, by budget and scope.", "budget", "scope"),
		hashes: f.counterVec("password_hashes_total", "Passwords hashed or compared.").WithLabelValues(),
		hashWait: f.histogramVec("password_hash_wait_seconds",
			"Time a password waited to be hashed or compared.", hashBounds).WithLabelValues(),
		sendAttempts: f.counterVec("email_send_attempts_total",
			"Attempts to send an email, by kind and outcome.", "kind", "outcome"),
		accountsExpired: f.counterVec("accounts_expired_total",
			"Accounts deleted because their email was not verified in time.").WithLabelValues(),
		redis: f.commands("redis", "Redis", redisCommands, redisBounds),
		mongo: f.commands("mongo", "MongoDB", mongoCommands, mongoBounds),
	}

	f.MustRegister(m.inFlight)

	// Initialize the series that alerts use to 0, here and where values are declared. If a series
	// appeared only with its first event, Prometheus would not see an increase.
	for outcome := range loginOutcomes {
		m.logins.WithLabelValues(outcome)
	}

	return m
}

// Routes declares the router's patterns, such as "/auth/sessions/{id}". An undeclared route is
// counted as "other", and so are undeclared values of the other labels.
func (m *Metrics) Routes(patterns ...string) {
	if m != nil {
		m.routes.add(patterns...)
	}
}

// SignInMethods declares the sign-in methods: "password" and the names of providers.
func (m *Metrics) SignInMethods(names ...string) {
	if m == nil {
		return
	}

	m.signInMethods.add(names...)

	for _, name := range names {
		for level := range levels {
			m.sessionsStarted.WithLabelValues(name, level)
		}
	}
}

// Factors declares the kinds of second factors, for FactorChecked.
func (m *Metrics) Factors(kinds ...string) {
	if m == nil {
		return
	}

	m.factors.add(kinds...)

	for _, kind := range kinds {
		for outcome := range factorOutcomes {
			m.factorChecks.WithLabelValues(kind, outcome)
		}
	}
}

// EndReasons declares the reasons why sessions end, for SessionsEnded.
func (m *Metrics) EndReasons(reasons ...string) {
	if m == nil {
		return
	}

	m.endReasons.add(reasons...)

	for _, reason := range reasons {
		m.sessionsEnded.WithLabelValues(reason)
	}
}

// Budget declares a rate-limit budget and its scopes, for LimitHit.
func (m *Metrics) Budget(name string, scopes ...string) {
	if m == nil {
		return
	}

	m.budgets.add(name)
	m.scopes.add(scopes...)

	for _, scope := range scopes {
		m.limitHits.WithLabelValues(name, scope)
	}
}

// MailKinds declares the kinds of emails, for Mail.
func (m *Metrics) MailKinds(kinds ...string) {
	if m == nil {
		return
	}

	m.mailKinds.add(kinds...)

	for _, kind := range kinds {
		m.sendAttempts.WithLabelValues(kind, MailDropped)
	}
}

// Request counts a handled request. route is the matched pattern, or "" if none matched. took is
// the time from receiving the request headers to the end of the response.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if m == nil {
		return
	}

	method = httpMethods.label(method)
	route = m.routes.label(route)
	m.requests.WithLabelValues(method, route, statusText(status)).Inc()
	m.requestSeconds.WithLabelValues(method, route).Observe(took.Seconds())
}

// RequestCounter returns a function that is like Request for one method, route and status, but faster.
func (m *Metrics) RequestCounter(method, route string, status int) func(took time.Duration) {
	if m == nil {
		return func(time.Duration) {}
	}

	method = httpMethods.label(method)
	route = m.routes.label(route)
	count := m.requests.WithLabelValues(method, route, statusText(status))
	seconds := m.requestSeconds.WithLabelValues(method, route)

	return func(took time.Duration) {
		count.Inc()
		seconds.Observe(took.Seconds())
	}
}

// InFlight changes the number of requests in progress: by 1 when a request starts, and by -1
// when it ends.
func (m *Metrics) InFlight(change int) {
	if m != nil {
		m.inFlight.Add(float64(change))
	}
}

// SessionStarted counts a started session by its sign-in method and its level.
func (m *Metrics) SessionStarted(method, level string) {
	if m != nil {
		m.sessionsStarted.WithLabelValues(m.signInMethods.label(method), levels.label(level)).Inc()
	}
}

// SessionsEnded counts n ended sessions by the reason why they ended, a value of session.Reason.
func (m *Metrics) SessionsEnded(reason string, n int) {
	if m != nil && n > 0 {
		m.sessionsEnded.WithLabelValues(m.endReasons.label(reason)).Add(float64(n))
	}
}

// Login counts a login by its outcome: LoginSuccess, LoginFailed or LoginBusy.
func (m *Metrics) Login(outcome string) {
	if m != nil {
		m.logins.WithLabelValues(loginOutcomes.label(outcome)).Inc()
	}
}

// FactorChecked counts a check of the code of a second factor by the kind of the factor and the outcome:
// FactorSuccess or FactorFailure.
func (m *Metrics) FactorChecked(kind, outcome string) {
	if m != nil {
		m.factorChecks.WithLabelValues(m.factors.label(kind), factorOutcomes.label(outcome)).Inc()
	}
}

// LimitHit counts an exhausted rate limit by its budget and scope, for example "login" and "ip".
// A request can hit several limits.
func (m *Metrics) LimitHit(budget, scope string) {
	if m != nil {
		m.limitHits.WithLabelValues(m.budgets.label(budget), m.scopes.label(scope)).Inc()
	}
}

// PasswordHashed counts a password that was hashed or compared. waited is the time that the password
// spent in the queue before.
func (m *Metrics) PasswordHashed(waited time.Duration) {
	if m == nil {
		return
	}

	m.hashes.Inc()
	m.hashWait.Observe(waited.Seconds())
}

// Mail counts an attempt to send an email by its kind (a value of mail.Kind) and its outcome:
// MailSent, MailRetried or MailDropped.
func (m *Metrics) Mail(kind, outcome string) {
	if m != nil {
		m.sendAttempts.WithLabelValues(m.mailKinds.label(kind), mailOutcomes.label(outcome)).Inc()
	}
}

// AccountExpired counts an account that was deleted because its email was not verified in time.
func (m *Metrics) AccountExpired() {
	if m != nil {
		m.accountsExpired.Inc()
	}
}
