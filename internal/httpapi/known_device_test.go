package httpapi_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/httpapi"
	"latchkey/internal/ratelimit"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// revokingChanges are the changes to Ann's account that revoke all known devices except the one in
// use. Each returns the password with which a stranger can try to log in afterwards, or "".
var revokingChanges = map[string]func(e *providerEnv, owner *apitest.Client) string{
	"password reset": func(e *providerEnv, owner *apitest.Client) string {
		owner.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).Want(202)
		token := e.Outbox.Token(e.T, "ann@gmail.com", "reset-password")
		owner.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)

		return apitest.NewPassword
	},
	"password change": func(_ *providerEnv, owner *apitest.Client) string {
		owner.Do("POST", "/auth/password/change", apitest.PasswordChange).Want(200)

		return apitest.NewPassword
	},
	"email change": func(e *providerEnv, owner *apitest.Client) string {
		owner.Do("POST", "/auth/email/change", map[string]any{"email": "new@gmail.com"}).Want(202)
		token := e.Outbox.Token(e.T, "new@gmail.com", "verify-email")
		owner.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)

		return ""
	},
	"other sessions ended": func(_ *providerEnv, owner *apitest.Client) string {
		owner.Do("DELETE", "/auth/sessions", nil).Want(200)

		return apitest.Password
	},
	"all sessions ended": func(_ *providerEnv, owner *apitest.Client) string {
		owner.Do("DELETE", "/auth/sessions?scope=all", nil).Want(200)

		return apitest.Password
	},
	"provider unlinked": func(e *providerEnv, owner *apitest.Client) string {
		e.linkWith(owner, "acme", ann, "")
		owner.Do("DELETE", "/auth/identities/acme", nil).Want(204)

		return apitest.Password
	},
	"account claimed": func(e *providerEnv, owner *apitest.Client) string {
		e.signInWith(owner, "acme", ann, "")

		return ""
	},
}

// A change that ends the sessions of strangers also ends the privilege of their devices, although
// their cookies last for 400 days: these devices get no limit of their own, and their next login is
// reported. The owner's browser gets a new proof at once.
func TestChangesRevokeDevices(t *testing.T) {
	t.Parallel()

	for name, change := range revokingChanges {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			owner := e.Register("ann@gmail.com")
			stranger := e.login(apitest.Password)
			before := e.Account("ann@gmail.com")
			if !stranger.IsKnown(before) || !owner.IsKnown(before) {
				t.Fatal("before the change: want both devices to be known")
			}

			password := change(e, owner)

			after, err := e.Users.ByID(t.Context(), before.ID)
			testkit.NoError(t, err)
			if stranger.IsKnown(after) {
				t.Error("the stranger's device is still known")
			}
			if !owner.IsKnown(after) {
				t.Error("the owner's device is unknown")
			}

			if password == "" {
				return
			}

			e.ResetLimits() // the stranger's first login was reported, too
			e.TakeMails()
			e.TakeEvents()
			stranger.Do("POST", "/auth/login", apitest.Credentials("ann@gmail.com", password)).Want(200)
			if n := countMails(e.TakeMails(), "ann@gmail.com", "New sign-in to your Latchkey account"); n != 1 {
				t.Errorf("emails about the stranger's login: got %d, want 1", n)
			}
			if events := e.TakeEvents(); len(events) != 1 || events[0]["newDevice"] != true {
				t.Errorf("events of the stranger's login: got %v, want a login from a new device", events)
			}
		})
	}
}

// An operator's changes revoke all known devices, and so does deleting the account.
func TestOperatorsRevokeDevices(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	for name, change := range map[string]func(auth.Caller) (auth.Changed, error){
		"password set": func(c auth.Caller) (auth.Changed, error) { return s.Auth.SetPassword(t.Context(), c, apitest.Password) },
		"disabled": func(c auth.Caller) (auth.Changed, error) {
			changed, err := s.Auth.Disable(t.Context(), c, session.AccountDisabled)
			testkit.NoError(t, err)
			_, err = s.Users.SetActive(t.Context(), c.UserID, true)

			return changed, err
		},
		"sessions revoked": func(c auth.Caller) (auth.Changed, error) { return s.Auth.RevokeSessions(t.Context(), c.UserID, "") },
		"deleted and registered again": func(c auth.Caller) (auth.Changed, error) {
			changed, err := s.Auth.Delete(t.Context(), c)
			s.Register("ann@example.com")

			return changed, err
		},
	} {
		if u, err := s.Users.ByEmail(t.Context(), "ann@example.com"); err == nil {
			s.DeleteAccount(u.ID)
		}

		c := s.Register("ann@example.com")
		s.AsOperator(change)
		if c.IsKnown(s.Account("ann@example.com")) {
			t.Errorf("%s: the device is still known", name)
		}
	}
}

// A device stays unknown if its session ends with the browser, because it may be a shared computer.
func TestTemporarySessionIsNotRemembered(t *testing.T) {
	t.Parallel()

	for name, change := range revokingChanges {
		if name == "password reset" || name == "account claimed" {
			continue // not in a session; the sign-in that claims an account is remembered
		}

		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			e.Register("ann@gmail.com")
			c := e.NewClient()
			c.Do("POST", "/auth/login", map[string]any{"email": "ann@gmail.com", "password": apitest.Password, "rememberMe": false}).Want(200)

			change(e, c)
			if c.Device != "" {
				t.Errorf("device cookie: got %s, want none", c.Device)
			}
		})
	}
}

// A copied session cookie does not lead to a device cookie, which would outlive the session.
func TestStolenSessionMakesNoDevice(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"other sessions ended", "all sessions ended", "email change", "provider unlinked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
			thief := e.WithToken(e.Register("ann@gmail.com").Token)

			revokingChanges[name](e, thief)
			if thief.Device != "" {
				t.Errorf("device cookie: got %s, want none", thief.Device)
			}
		})
	}
}

// A device that was known before a reset stays known, for as long as before.
func TestResetKeepsKnownDevice(t *testing.T) {
	t.Parallel()

	e := newProviderEnv(t, apitest.Options{Mail: &apitest.Outbox{}})
	owner := e.Register("ann@gmail.com")
	owner.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@gmail.com"}).Want(202)
	token := e.Outbox.Token(t, "ann@gmail.com", "reset-password")
	a := owner.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)

	cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	testkit.NoError(t, err)
	if cookie.Name != "device" || cookie.MaxAge != 400*24*60*60 {
		t.Errorf("got cookie %s, want a device cookie for 400 days", cookie)
	}
}

// Ten new devices in a row become known to an account, including that of the registration. Logins
// on further devices succeed, but these stay unknown.
func TestNewDevicesAreLimited(t *testing.T) {
	t.Parallel()

	const limit = 10
	rule := ratelimit.Rule{Events: 1000, Window: time.Hour}
	s := apitest.New(t, apitest.Options{Limits: httpapi.Limits{Login: rule, Device: rule}})
	first := s.Register("ann@example.com")
	u := s.Account("ann@example.com")

	known := 1
	for i := range 3 * limit {
		c := s.LoginFrom("any")
		isKnown := c.IsKnown(u)
		if isKnown {
			known++
		}
		if isKnown != (c.Device != "") || isKnown != (i < limit-1) {
			t.Errorf("new device %d: got known %v, cookie %q", i+2, isKnown, c.Device)
		}
	}
	if known != limit {
		t.Errorf("known devices: got %d, want %d", known, limit)
	}

	// A device that is known already is not affected.
	before := first.Device
	first.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	if !first.IsKnown(u) || first.Device != before {
		t.Errorf("known device after a login: got cookie %q, want %q", first.Device, before)
	}
}

// Guessing as fast as possible from 60 known devices and 100 IPs does not keep the owner from
// logging in on another known device at the default limits, even behind one of these IPs and while
// the password is restricted.
func TestOwnerAmongManyDevices(t *testing.T) {
	t.Parallel()

	const (
		devices  = 60
		ips      = 100
		rounds   = 14
		perRound = 120
	)
	perMinute := func(events int) ratelimit.Rule { return ratelimit.Rule{Events: events, Window: time.Minute} }
	s := apitest.New(t, apitest.Options{
		TrustedProxies: behindProxy,
		Mail:           &apitest.Outbox{},
		// The owner logs in 14 times within seconds, which would take a person more than a minute.
		Limits: httpapi.Limits{Login: perMinute(10), Account: perMinute(30), Device: perMinute(rounds)},
	})
	owner := s.Register("ann@example.com")
	u := s.Account("ann@example.com")
	ip := func(i int) string { return fmt.Sprintf("203.0.113.%d", i%ips) }

	attackers := make([]*apitest.Client, devices)
	for i := range attackers {
		s.ResetLimits() // as if collecting the devices had taken hours
		attackers[i] = s.NewClient()
		attackers[i].DoFrom(ip(i), "POST", "/auth/login", apitest.AnnsLogin).Want(200)
		if !attackers[i].IsKnown(u) {
			t.Fatalf("device %d is unknown", i)
		}
	}
	s.ResetLimits()
	s.TakeMails()

	start := time.Now()
	succeeded := 0
	guesses := map[string]int{}
	for round := range rounds {
		responses := testkit.Concurrently(perRound, func(i int) apitest.Response {
			n := round*perRound + i
			c := s.NewClient()
			if i%2 == 0 {
				c = attackers[n/2%devices].Clone()
			}

			return c.DoFrom(ip(n), "POST", "/auth/login", wrongPassword("ann@example.com"))
		})
		for result, n := range tally(responses) {
			guesses[result] += n
		}

		a := owner.Clone().DoFrom(ip(0), "POST", "/auth/login", apitest.AnnsLogin)
		if a.Status == 200 {
			succeeded++
		} else {
			t.Logf("round %d: %d %s", round, a.Status, a.Header.Get("RateLimit"))
		}
	}

	t.Logf("owner: %d of %d logins; guesses in %v: %v", succeeded, rounds, time.Since(start).Round(time.Millisecond), guesses)
	if succeeded < rounds-1 {
		t.Errorf("owner's logins: %d of %d succeeded", succeeded, rounds)
	}
	if guesses["401 invalid_credentials"] == 0 || guesses["429 too_many_requests"] == 0 {
		t.Errorf("guesses: got %v, want some that were checked and some that were limited", guesses)
	}
}

// mongoCommands returns the number of MongoDB commands of the server, without the inserts of events.
func mongoCommands(s *apitest.Server) (n int) {
	for _, command := range []string{"find", "findAndModify"} {
		count, _ := strconv.Atoi(s.Metric(`latchkey_mongo_commands_total{command="` + command + `",outcome="ok"}`))
		n += count
	}

	return n
}

// Only a cookie with a genuine proof costs a query before the rate limit, and the login then does
// not repeat that query: it takes the same number of MongoDB commands with and without a known
// device.
func TestKnownDeviceCostsNoQuery(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Limits: sameLimits(100)})
	owner := s.Register("ann@example.com")

	commands := func(device string) int {
		before := mongoCommands(s)
		c := s.NewClient()
		c.Device = device
		c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)

		return mongoCommands(s) - before
	}

	without := commands("")
	for name, device := range map[string]string{
		"known": owner.Device, "forged": owner.Device[:len(owner.Device)-1] + "_", "malformed": strings.Repeat("x", 100),
	} {
		if got := commands(device); got != without {
			t.Errorf("login with a %s device: got %d MongoDB commands, want %d", name, got, without)
		}
	}
}

// A forged device cookie costs no query if the request is over the limit.
func TestForgedDeviceOverLimit(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Limits: sameLimits(1)})
	owner := s.Register("ann@example.com")
	s.NewClient().Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(401)

	before := mongoCommands(s)
	c := s.NewClient()
	c.Device = owner.Device[:len(owner.Device)-1] + "_"
	c.Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(429)
	if n := mongoCommands(s) - before; n != 0 {
		t.Errorf("got %d MongoDB commands, want 0", n)
	}
}
