package device

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"latchkey/internal/devstore/conntest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/ratelimit"
	"latchkey/internal/redisconn"
	"latchkey/internal/testkit"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// twoPerHour is a limit of two attempts. The window is longer than a test takes.
var twoPerHour = ratelimit.Rule{Events: 2, Window: time.Hour}

func newLimiter(t *testing.T, r storetest.Redis, account, device ratelimit.Rule) *Limiter {
	t.Helper()
	conns := conntest.Redis(t, r, redisconn.Options{})

	return NewLimiter(ratelimit.New(conns), account, device)
}

// take counts an attempt and describes the decision: the budgets with their remaining attempts,
// and the exhausted budgets.
func take(t *testing.T, l *Limiter, a Attempt) string {
	t.Helper()

	d, err := l.Take(context.Background(), a)
	testkit.NoError(t, err)

	var budgets []string
	for _, b := range d.Budgets {
		budgets = append(budgets, fmt.Sprintf("%s %d/%d", b.Name, b.Remaining, b.Rule.Events))
	}

	if d.Refused != nil {
		if d.Refused.Allowed || d.Refused.RetryAfter <= 0 || d.Refused.Name != budgets[len(budgets)-1][:len(d.Refused.Name)] {
			t.Errorf("got Refused %+v, want the last budget, with Allowed false and a RetryAfter", d.Refused)
		}

		return fmt.Sprintf("%q refused, exhausted %q", budgets, d.Exhausted)
	}
	if len(d.Exhausted) > 0 {
		return fmt.Sprintf("%q exhausted %q", budgets, d.Exhausted)
	}

	return fmt.Sprintf("%q", budgets)
}

// step is an attempt, which is a login unless action is set, and the expected decision.
type step struct{ action, ip, account, device, want string }

func checkSteps(t *testing.T, steps []step) {
	t.Helper()

	l := newLimiter(t, storetest.NewRedis(t), twoPerHour, twoPerHour)
	for i, s := range steps {
		a := Attempt{Action: cmp.Or(s.action, "login"), Rule: twoPerHour, IP: s.ip, Account: s.account, Device: s.device}
		if got := take(t, l, a); got != s.want {
			t.Errorf("step %d: got %s, want %s", i, got, s.want)
		}
	}
}

func TestByIPAndAccount(t *testing.T) {
	t.Parallel()

	checkSteps(t, []step{
		{ip: "203.0.113.1", account: ann, want: `["ip 1/2" "account 1/2"]`},
		{ip: "203.0.113.2", account: ann, want: `["ip 1/2" "account 0/2"]`},
		{ip: "203.0.113.2", account: ann, want: `["ip 0/2" "account 0/2"] refused, exhausted ["account"]`},
		{ip: "203.0.113.2", want: `["ip 0/2"] refused, exhausted ["ip"]`},
		// An attempt refused by the IP budget does not count against the account.
		{ip: "203.0.113.2", account: "bob@example.com", want: `["ip 0/2"] refused, exhausted ["ip"]`},
		{ip: "203.0.113.3", account: "bob@example.com", want: `["ip 1/2" "account 1/2"]`},
		{action: "mail", ip: "203.0.113.2", account: ann, want: `["ip 1/2" "account 1/2"]`},
		{action: "mail", ip: "203.0.113.2", want: `["ip 0/2"]`},
		// All IPs in the same IPv6 /64 share a budget.
		{action: "mail", ip: "2001:db8:1:2:3::1", want: `["ip 1/2"]`},
		{action: "mail", ip: "2001:db8:1:2:4::1", want: `["ip 0/2"]`},
	})
}

// A known device has its own budget, even if strangers have used up the other budgets. When that budget
// is exhausted, the device is treated as unknown.
func TestByDevice(t *testing.T) {
	t.Parallel()

	checkSteps(t, []step{
		{ip: "203.0.113.1", account: ann, want: `["ip 1/2" "account 1/2"]`},
		{ip: "203.0.113.1", account: ann, want: `["ip 0/2" "account 0/2"]`},
		{ip: "203.0.113.1", account: ann, want: `["ip 0/2"] refused, exhausted ["ip"]`},
		{ip: "203.0.113.1", account: ann, device: "phone", want: `["device 1/2" "ip-devices 19/20"]`},
		{ip: "203.0.113.1", account: ann, device: "phone", want: `["device 0/2" "ip-devices 18/20"]`},
		{ip: "203.0.113.1", account: ann, device: "phone", want: `["ip 0/2"] refused, exhausted ["device" "ip"]`},
		// Another account on the same device, and another device on the same account.
		{ip: "203.0.113.2", account: "bob@example.com", device: "phone", want: `["device 1/2" "ip-devices 19/20"]`},
		{ip: "203.0.113.1", account: ann, device: "laptop", want: `["device 1/2" "ip-devices 17/20"]`},
		// The phone's budget is also exhausted at other IPs.
		{ip: "203.0.113.3", account: ann, device: "phone", want: `["ip 1/2" "account 0/2"] refused, exhausted ["device" "account"]`},
	})
}

// Creating many devices does not allow unlimited attempts from one IP.
func TestSharedDeviceBudget(t *testing.T) {
	t.Parallel()

	l := newLimiter(t, storetest.NewRedis(t), twoPerHour, twoPerHour)
	for i := range 2*sharedFactor + 1 {
		d, err := l.Take(context.Background(), Attempt{
			Action:  "login",
			Rule:    twoPerHour,
			IP:      "203.0.113.1",
			Account: fmt.Sprintf("ann%d@example.com", i),
			Device:  fmt.Sprintf("device%d", i),
		})
		testkit.NoError(t, err)

		if got, want := slices.Contains(d.Exhausted, "ip-devices"), i == 2*sharedFactor; got != want {
			t.Errorf("device %d: got exhausted %q, want it to contain ip-devices: %t", i, d.Exhausted, want)
		}
	}
}

// A client with many IPv6 networks does not get many times the budget. If the budget of a network
// is used up, known devices in it still have their own.
func TestByNetwork(t *testing.T) {
	t.Parallel()

	var steps []step
	for i := range 16 {
		want := `["ip 1/2" "account 1/2"]`
		if i == 15 {
			want = `["network 0/16" "account 1/2"]`
		}
		steps = append(steps, step{ip: fmt.Sprintf("2001:db8:77:%x::1", i), account: fmt.Sprintf("ann%d@example.com", i), want: want})
	}

	checkSteps(t, append(steps, []step{
		{ip: "2001:db8:77:ff::1", account: ann, want: `["network 0/16"] refused, exhausted ["network"]`},
		{ip: "2001:db8:77:ff::1", account: ann, device: "phone", want: `["device 1/2" "ip-devices 19/20"]`},
		{ip: "2001:db8:77:100::1", account: ann, want: `["ip 1/2" "account 1/2"]`},
	}...))
}

// The known devices of an account share no budget, so none of them can lock out another.
func TestDevicesOfAnAccountAreIndependent(t *testing.T) {
	t.Parallel()

	l := newLimiter(t, storetest.NewRedis(t), twoPerHour, twoPerHour)
	for i := range 100 {
		for range 3 {
			_, err := l.Take(context.Background(), Attempt{
				Action:  "login",
				Rule:    twoPerHour,
				IP:      fmt.Sprintf("203.0.113.%d", i),
				Account: ann,
				Device:  fmt.Sprintf("device%d", i),
			})
			testkit.NoError(t, err)
		}
	}

	owner := Attempt{Action: "login", Rule: twoPerHour, IP: "198.51.100.1", Account: ann, Device: "owner"}
	if got, want := take(t, l, owner), `["device 1/2" "ip-devices 19/20"]`; got != want {
		t.Errorf("owner after 100 other devices: got %s, want %s", got, want)
	}
}

// No more than ten devices in a row become known to an account. Other accounts are not affected.
func TestAdmitNew(t *testing.T) {
	t.Parallel()

	l := newLimiter(t, storetest.NewRedis(t), twoPerHour, twoPerHour)
	admitted := 0
	for range 60 {
		ok, err := l.AdmitNew(context.Background(), "ann")
		testkit.NoError(t, err)
		if ok {
			admitted++
		}
	}
	if admitted != newDevices.Events {
		t.Errorf("new devices: got %d admitted, want %d", admitted, newDevices.Events)
	}

	if ok, err := l.AdmitNew(context.Background(), "eve"); !ok || err != nil {
		t.Errorf("new device of another account: got %t, error %v, want true", ok, err)
	}

	unlimited := NewLimiter(nil, twoPerHour, ratelimit.Rule{})
	if ok, err := unlimited.AdmitNew(context.Background(), "ann"); !ok || err != nil {
		t.Errorf("new device without limits: got %t, error %v, want true", ok, err)
	}
}

// If the attempt's rule is zero, no limit applies. A zero rule for accounts or devices disables only
// that limit.
func TestUnlimited(t *testing.T) {
	t.Parallel()

	r := storetest.NewRedis(t)
	unlimited := ratelimit.Rule{}
	a := Attempt{Action: "login", Rule: twoPerHour, IP: "203.0.113.1", Account: ann, Device: "phone"}
	if got, want := take(t, newLimiter(t, r, twoPerHour, unlimited), a), `["ip 1/2" "account 1/2"]`; got != want {
		t.Errorf("without a rule for devices: got %s, want %s", got, want)
	}

	a.Device = ""
	if got, want := take(t, newLimiter(t, r, unlimited, twoPerHour), a), `["ip 0/2"]`; got != want {
		t.Errorf("without a rule for accounts: got %s, want %s", got, want)
	}

	a.Rule = unlimited
	if got, want := take(t, newLimiter(t, r, twoPerHour, twoPerHour), a), `[]`; got != want {
		t.Errorf("without a rule for the attempt: got %s, want %s", got, want)
	}
}

func TestRedisDown(t *testing.T) {
	t.Parallel()

	l := newLimiter(t, storetest.Redis{Addr: "127.0.0.1:1"}, twoPerHour, twoPerHour)
	for _, device := range []string{"", "phone"} {
		a := Attempt{Action: "login", Rule: twoPerHour, IP: "203.0.113.1", Account: ann, Device: device}
		if d, err := l.Take(context.Background(), a); !errors.Is(err, redisconn.ErrUnavailable) || len(d.Budgets) != 0 {
			t.Errorf("Take with device %q: got %+v, error %v, want no budgets and ErrUnavailable",
				device, d, err)
		}
	}
}
