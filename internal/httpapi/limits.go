package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/device"
	"latchkey/internal/ratelimit"
	"latchkey/internal/telemetry"
	"latchkey/internal/user"
)

// Limits are the rate limits. The zero value limits nothing.
type Limits struct {
	// These rules apply per client IP.
	Register, Login, Mail, Token, Password, OAuth ratelimit.Rule
	// Account applies per account, whoever tries to log in to it.
	Account ratelimit.Rule
	// Device applies per known device of an account. Until it is used up, the other rules do not
	// apply to that device: see device.Limiter.
	Device ratelimit.Rule
}

// limit is the name of a rate limit. Routes with the same limit share its budgets.
type limit string

const (
	noLimit       limit = ""
	limitRegister limit = "register"
	limitLogin    limit = "login"
	limitMail     limit = "mail"     // send an email with a link
	limitToken    limit = "token"    // use such a link
	limitPassword limit = "password" // check or set a password in a session
	limitFactor   limit = "factor"   // enter a code at a login
	limitOAuth    limit = "oauth"    // redirect to a provider
	limitCallback limit = "callback" // return from a provider without a sign-in
)

// declareBudgets initializes the metrics of all budgets, so that they start at zero.
func declareBudgets(m *telemetry.Metrics) {
	for _, l := range []limit{limitRegister, limitLogin, limitMail, limitToken, limitPassword, limitFactor, limitOAuth, limitCallback} {
		m.Budget(string(l), device.BudgetNames...)
	}

	m.Budget(string(limitLogin), device.KnownDeviceBudgetNames...)
	m.Budget(string(limitFactor), device.KnownDeviceBudgetNames...)
}

// rule returns the rule per IP of a limit.
func (l Limits) rule(of limit) ratelimit.Rule {
	switch of {
	case limitRegister:
		return l.Register
	case limitLogin:
		return l.Login
	case limitMail:
		return l.Mail
	case limitToken:
		return l.Token
	case limitPassword, limitFactor:
		return l.Password
	case limitOAuth, limitCallback:
		return l.OAuth
	}

	return ratelimit.Rule{}
}

// attempt is a request to a route with a rate limit.
type attempt struct {
	limit  limit
	email  user.Email // of the account that the request names, or ""
	device string     // the name of a device that is known to that account, or ""
	userID string     // of the session, or ""
}

// checkRateLimit counts an attempt and sets the headers that report the remaining budgets
// (draft-ietf-httpapi-ratelimit-headers). Call it before doing any work for the request. It returns
// the request to pass to the handler, which usesKnownDevice needs.
func (s *Server) checkRateLimit(w http.ResponseWriter, r *http.Request, a attempt) (*http.Request, error) {
	if a.limit == noLimit {
		return r, nil
	}

	tried := device.Attempt{
		Action:  string(a.limit),
		Rule:    s.limits.rule(a.limit),
		IP:      s.clientIPs.of(r),
		Account: cmp.Or(a.userID, string(a.email)),
		Device:  a.device,
	}

	decision, err := s.limiter.Take(r.Context(), tried)
	if err != nil {
		return r, err
	}

	for _, name := range decision.Exhausted {
		s.metrics.LimitHit(string(a.limit), name)
	}
	setRateLimit(w.Header(), decision.Budgets)

	if decision.KnownDevice {
		r = r.WithContext(context.WithValue(r.Context(), knownDeviceKey{}, true))
	}

	refused := decision.Refused
	if refused == nil {
		return r, nil
	}
	if refused.FirstRefusal {
		s.record(w, r, activity.Event{Name: activity.LimitHit, UserID: a.userID})
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds(refused.RetryAfter)))

	return r, errTooMany
}

type knownDeviceKey struct{}

// usesKnownDevice reports whether a request counted against the limits of a known device of the
// account, which strangers cannot use up. A known device that exceeds its own limits is treated
// like any other.
func usesKnownDevice(r *http.Request) bool {
	known, _ := r.Context().Value(knownDeviceKey{}).(bool)

	return known
}

// setRateLimit sets the RateLimit headers.
func setRateLimit(h http.Header, budgets []device.Budget) {
	if len(budgets) == 0 {
		return
	}

	var left, policies []string
	for _, b := range budgets {
		left = append(left, fmt.Sprintf("%q;r=%d;t=%d", b.Name, b.Remaining, seconds(b.Reset)))
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", b.Name, b.Rule.Events, seconds(b.Rule.Window)))
	}
	h.Set("RateLimit", strings.Join(left, ", "))
	h.Set("RateLimit-Policy", strings.Join(policies, ", "))
}

// seconds returns d in seconds, rounded up so that clients do not retry too early.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
