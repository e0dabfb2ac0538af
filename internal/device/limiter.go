package device

import (
	"context"
	"strings"
	"time"

	"latchkey/internal/ratelimit"
)

// sharedFactor is the size of the budget that all known devices at one IP share, as a multiple of a
// single device's budget. Without it, a client with accounts of its own could collect devices and
// keep the server busy with hashing passwords.
//
// The known devices of one account share no budget: a device whose user the owner no longer trusts
// could use it up and lock out the others.
const sharedFactor = 10

// newDevices limits how many devices can become known to an account. Without it, anyone who has
// learned the password could collect thousands of device cookies before the owner changes it.
var newDevices = ratelimit.Rule{Events: 10, Window: time.Hour}

// Limiter limits attempts by IP, by account and by known device.
type Limiter struct {
	limiter *ratelimit.Limiter
	account ratelimit.Rule
	device  ratelimit.Rule
}

// NewLimiter returns a Limiter. The rule device limits the attempts from each known device of an
// account. The rule account limits all other attempts on an account, from any number of devices.
func NewLimiter(limiter *ratelimit.Limiter, account, device ratelimit.Rule) *Limiter {
	return &Limiter{limiter: limiter, account: account, device: device}
}

// Attempt is one attempt at a limited action.
type Attempt struct {
	// Action is the name of the action, for example "login". Each action has its own budgets.
	Action string
	// Rule is the limit for each IP. The zero Rule disables all limits.
	Rule ratelimit.Rule
	IP   string
	// Account is the canonical email or the ID of the account, or "" if the action does not
	// concern an account. The account does not have to exist.
	Account string
	// Device is the name of a known device of the account, or "".
	Device string
}

// BudgetNames lists the names of the budgets for attempts from unknown devices. "network" is the
// budget of an IPv6 network around the client. It replaces "ip" if it will be used up first.
var BudgetNames = []string{"ip", "network", "account"}

// KnownDeviceBudgetNames lists the names of the budgets for attempts from known devices.
var KnownDeviceBudgetNames = []string{"device", "ip-devices", "network-devices"}

// Budget is a budget after an attempt was counted.
type Budget struct {
	Name string // one of BudgetNames or KnownDeviceBudgetNames
	Rule ratelimit.Rule
	ratelimit.Budget

	key string // the key for package ratelimit

	// ip is the client's IP if the budget belongs to an IP. The budgets of its networks are then
	// multiples of perClient.
	ip        string
	perClient ratelimit.Rule
}

// Decision is the result of counting an attempt.
type Decision struct {
	// Refused is the budget that refused the attempt, or nil if the attempt is allowed.
	Refused *Budget
	// Budgets are the budgets that the decision is based on, in the order in which they were counted.
	Budgets []Budget
	// KnownDevice is set if the attempt is from a known device and within the budgets for known
	// devices.
	KnownDevice bool
	// Exhausted lists the names of all exhausted budgets, including those of a known device whose
	// attempt was then counted like one from an unknown device.
	Exhausted []string
}

// Take counts an attempt and decides whether it is allowed. Errors: redisconn.ErrUnavailable.
//
// An attempt from a known device counts only against the budgets for known devices, until one
// of them is exhausted. So neither strangers nor other known devices can lock out the owner, unless
// many known devices fail at the owner's own IP (OWASP ASVS 5.0 6.1.1, 6.3.1). All other attempts
// count against the budgets of the IP and the account.
func (l *Limiter) Take(ctx context.Context, a Attempt) (Decision, error) {
	if a.Rule.Unlimited() {
		return Decision{KnownDevice: a.Device != ""}, nil
	}

	accountKey := a.Action + ":account:" + ratelimit.AccountKey(a.Account)

	var exhausted []string
	if a.Device != "" && !l.device.Unlimited() {
		shared := l.device
		shared.Events *= sharedFactor

		d, err := l.take(ctx, []Budget{
			{Name: "device", Rule: l.device, key: accountKey + ":" + a.Device},
			{Name: "ip-devices", Rule: shared, key: a.Action + ":ip-devices", ip: a.IP, perClient: l.device},
		})
		if err != nil || d.Refused == nil {
			d.KnownDevice = err == nil
			return d, err
		}

		exhausted = d.Exhausted
	}

	budgets := []Budget{{Name: "ip", Rule: a.Rule, key: a.Action + ":ip", ip: a.IP, perClient: a.Rule}}
	if a.Account != "" && !l.account.Unlimited() {
		budgets = append(budgets, Budget{Name: "account", Rule: l.account, key: accountKey})
	}

	d, err := l.take(ctx, budgets)
	d.Exhausted = append(exhausted, d.Exhausted...)

	return d, err
}

// AdmitNew counts a device on which an account was used for the first time, and reports whether the
// device may become known. Errors: redisconn.ErrUnavailable.
func (l *Limiter) AdmitNew(ctx context.Context, userID string) (bool, error) {
	if l.device.Unlimited() {
		return true, nil
	}

	b, err := l.limiter.Take(ctx, "new-device:"+userID, newDevices)

	return b.Allowed, err
}

// take counts an attempt against each budget in turn, until one of them refuses it. It does not
// count the attempt against the budgets after that.
func (l *Limiter) take(ctx context.Context, budgets []Budget) (Decision, error) {
	var d Decision
	for _, b := range budgets {
		result, err := l.takeOne(ctx, b)
		if err != nil {
			return Decision{}, err
		}

		b.Budget = result
		b.Rule = result.Rule
		if result.IsNetwork {
			b.Name = strings.Replace(b.Name, "ip", "network", 1)
		}
		d.Budgets = append(d.Budgets, b)
		if !result.Allowed {
			d.Refused = &b
			d.Exhausted = []string{b.Name}
			break
		}
	}

	return d, nil
}

// takeOne counts an attempt against one budget.
func (l *Limiter) takeOne(ctx context.Context, b Budget) (ratelimit.Budget, error) {
	if b.ip == "" {
		return l.limiter.Take(ctx, b.key, b.Rule)
	}

	return l.limiter.TakeIP(ctx, b.key, b.ip, b.Rule, b.perClient)
}
