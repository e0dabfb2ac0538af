package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/ratelimit"
)

// Limits say how often something may be asked for. The zero value is no limits at all.
type Limits struct {
	// By the address of the client.
	Register, Login, Mail, Token, Password, OAuth ratelimit.Rule
	// By the account that is tried, whoever tries.
	Account ratelimit.Rule
	// By the device that the owner of the account has used before. As long as something is
	// left of it the other two do not count: strangers cannot lock the owner out, and behind
	// the same address only if they have many such devices of their own (OWASP ASVS 5.0
	// 6.1.1, 6.3.1).
	Device ratelimit.Rule
}

// budget is what a client may do so often; Limits say how often.
type budget string

const (
	unlimited     budget = ""
	registrations budget = "register"
	logins        budget = "login"
	mails         budget = "mail"     // what sends a mail with a link
	tokens        budget = "token"    // what uses such a link
	passwords     budget = "password" // what a session proves a password for
	signIns       budget = "oauth"    // what sends a browser to a provider
	callbacks     budget = "callback" // what comes back from one and was never sent there
)

func (l Limits) of(b budget) ratelimit.Rule {
	switch b {
	case registrations:
		return l.Register
	case logins:
		return l.Login
	case mails:
		return l.Mail
	case tokens:
		return l.Token
	case passwords:
		return l.Password
	case signIns, callbacks:
		return l.OAuth
	}
	return ratelimit.Rule{}
}

// attempt is one use of a route with a limit.
type attempt struct {
	budget budget
	// account is whose account is tried: its address in the canonical form, or the id of
	// a user who is signed in; "" where it is nobody's in particular.
	account string
	// userID is who is signed in.
	userID string
}

// scope is one limit that an attempt counts against.
type scope struct {
	name, key string
	rule      ratelimit.Rule
}

// deviceShare is how many devices may use up their budgets at one client address, or on
// one account. A device is made by logging in without one, so that without it whoever
// has a password could have any number of them, and tries without end.
const deviceShare = 10

// admit counts an attempt, before any work is done for it, and says in the headers
// what is left (draft-ietf-httpapi-ratelimit-headers). Accounts that do not exist count
// like those that do. Of several limits those behind one that refuses are not counted
// against.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, a attempt) error {
	rule := s.limits.of(a.budget)
	if rule.Unlimited() {
		return nil
	}
	address := string(a.budget) + ":address:" + ratelimit.AddressKey(clientIP(r))
	account := string(a.budget) + ":account:" + ratelimit.AccountKey(a.account)
	if device := s.devices.known(r, a.account); device != "" && a.budget == logins && !s.limits.Device.Unlimited() {
		shared := s.limits.Device
		shared.Events *= deviceShare
		refused, err := s.take(w, r, a.budget,
			scope{"device", account + ":" + device, s.limits.Device},
			scope{"account-devices", account + ":devices", shared},
			scope{"address-devices", address + ":devices", shared})
		if err != nil || refused == nil {
			return err
		}
	}
	scopes := []scope{{"address", address, rule}}
	if a.account != "" {
		scopes = append(scopes, scope{"account", account, s.limits.Account})
	}
	refused, err := s.take(w, r, a.budget, scopes...)
	if err != nil || refused == nil {
		return err
	}
	if refused.FirstRefused {
		s.record(w, r, activity.Event{Name: activity.LimitHit, UserID: a.userID})
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds(refused.RetryAfter)))
	return errTooMany
}

// take counts against the limits of a budget until one is used up, which it returns.
func (s *Server) take(w http.ResponseWriter, r *http.Request, b budget, scopes ...scope) (refused *ratelimit.Budget, err error) {
	var left, policies []string
	for _, of := range scopes {
		if of.rule.Unlimited() {
			continue
		}
		got, err := s.limiter.Take(r.Context(), of.key, of.rule)
		if err != nil {
			return nil, err
		}
		left = append(left, fmt.Sprintf("%q;r=%d;t=%d", of.name, got.Remaining, seconds(got.Reset)))
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", of.name, of.rule.Events, seconds(of.rule.Window)))
		if !got.Allowed {
			s.metrics.LimitHit(string(b), of.name)
			refused = &got
			break
		}
	}
	if len(left) > 0 {
		w.Header().Set("RateLimit", strings.Join(left, ", "))
		w.Header().Set("RateLimit-Policy", strings.Join(policies, ", "))
	}
	return refused, nil
}

// seconds rounds up: who comes back that much later is not early.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
