package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/factor"
	"latchkey/internal/session"
)

// otherDataKey is a DATA_KEY of a server after a rotation.
const otherDataKey = "another data key of the tests, 32+"

// seedOf returns the stored seed of a factor.
func seedOf(s *apitest.Server, id string) string {
	return s.Account("ann@example.com").Factors[id].Seed
}

// After a rotation of DATA_KEY, the seeds that are encrypted with the old key still work. Each is encrypted
// with the new one when it is used, at a login or to confirm the identity, after which the old key is not
// needed any more.
func TestDataKeyRotation(t *testing.T) {
	t.Parallel()

	for _, path := range []string{"/auth/login/factor", "/auth/step-up"} {
		before := apitest.New(t)
		u := before.CreateUser("ann@example.com")
		app := before.AddFactor(u.ID)
		old := seedOf(before, app.ID)
		both := apitest.New(t, apitest.Options{StoresOf: before, DataKeys: []string{otherDataKey, apitest.DataKey}})
		after := apitest.New(t, apitest.Options{StoresOf: before, DataKeys: []string{otherDataKey}})

		enter := func(s *apitest.Server) apitest.Response {
			c := s.SignInWith(u.ID, session.Method{Method: session.Password})
			c.Factors = waiting(s, u.ID).Factors
			return c.Do("POST", path, map[string]any{"code": app.Code()})
		}

		enter(after).WantCode(http.StatusServiceUnavailable, "factors_unavailable")
		if got := seedOf(before, app.ID); got != old {
			t.Errorf("%s: the seed changed to %s without its key", path, got)
		}

		enter(both).Want(http.StatusOK)
		if got := seedOf(before, app.ID); strings.Split(got, ".")[1] == strings.Split(old, ".")[1] {
			t.Errorf("%s: the seed is still encrypted with the old key", path)
		}

		// The next code works where only the new key is known.
		before.Advance(factor.Period)
		after.Advance(factor.Period)
		enter(after).Want(http.StatusOK)
		if !strings.Contains(after.Log.String(), app.ID) {
			t.Errorf("%s: the log does not name the factor whose key was missing", path)
		}
	}
}

// While the key of the seeds is missing, recovery codes still work, and nothing counts as a wrong code.
func TestDataKeyMissing(t *testing.T) {
	t.Parallel()

	for name, keys := range map[string][]string{"another key": {otherDataKey}, "no key": {}} {
		s := apitest.New(t)
		u := s.CreateUser("ann@example.com")
		app := s.AddFactor(u.ID)
		later := apitest.New(t, apitest.Options{StoresOf: s, DataKeys: keys})

		c := later.NewClient()
		c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
		for _, code := range []string{app.Code(), app.WrongCode()} {
			c.Do("POST", "/auth/login/factor", map[string]any{"code": code}).WantCode(http.StatusServiceUnavailable, "factors_unavailable")
		}
		if got := s.Account("ann@example.com").Factors[app.ID].Failures; got != 0 {
			t.Errorf("%s: failures: got %d, want 0", name, got)
		}
		c.Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": app.RecoveryCodes[0]}).Want(http.StatusOK)
		if got := c.Do("GET", "/auth/session", nil).Want(http.StatusOK).Text("level"); got != session.AAL2 {
			t.Errorf("%s: level: got %s, want aal2", name, got)
		}
		c.Do("POST", "/auth/step-up", map[string]any{"code": app.Code()}).WantCode(http.StatusServiceUnavailable, "factors_unavailable")
		c.Do("DELETE", "/auth/factors/"+app.ID, nil).Want(http.StatusNoContent)
	}
}

// A seed that is copied to another account or to another factor does not decrypt: someone who can write to
// the database cannot replace the seed of an account by their own.
func TestCopiedSeed(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.CreateUser("ann@example.com")
	eve := s.CreateUser("eve@example.com")
	annsApp := s.AddFactor(ann.ID)
	evesApp := s.AddFactor(eve.ID)
	evesSeed := s.Account("eve@example.com").Factors[evesApp.ID]
	enter := func(code string) {
		t.Helper()
		waiting(s, ann.ID).Do("POST", "/auth/login/factor", map[string]any{"code": code}).WantCode(http.StatusServiceUnavailable, "factors_unavailable")
	}

	setField(t, s, ann.ID, "factors."+annsApp.ID+".seed", evesSeed.Seed)
	enter(evesApp.Code())

	// With its factor ID as well, and an own seed under another ID.
	ownSeed := s.Account("ann@example.com").Factors[annsApp.ID]
	setField(t, s, ann.ID, "factors", map[string]any{evesApp.ID: evesSeed})
	enter(evesApp.Code())
	setField(t, s, ann.ID, "factors", map[string]any{"copy": ownSeed})
	enter(annsApp.Code())

	// Nor does a pending enrolment.
	c := s.SignInWith(eve.ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP})
	e := enrol(c)
	setField(t, s, eve.ID, "enrolment.seed", evesSeed.Seed)
	e.confirm(c, evesApp.NextCode()).WantCode(http.StatusServiceUnavailable, "factors_unavailable")
}

// Without DATA_KEY no authenticator app can be set up, and pages can see that.
func TestNoDataKey(t *testing.T) {
	t.Parallel()

	for _, keys := range [][]string{nil, {}} {
		s := apitest.New(t, apitest.Options{DataKeys: keys})
		c := s.SignInWith(s.CreateUser("ann@example.com").ID, session.Method{Method: session.Password, At: longAgo})
		want := "[totp]"
		if keys != nil {
			want = "[]"
			c.Do("POST", "/auth/totp", nil).WantCode(http.StatusServiceUnavailable, "factors_not_configured")
		} else {
			c.Do("POST", "/auth/totp", nil).WantCode(http.StatusForbidden, "step_up_required")
		}
		if got := fmt.Sprint(c.Do("GET", "/auth/config", nil).Want(http.StatusOK).JSON["factors"]); got != want {
			t.Errorf("factors in the configuration: got %s, want %s", got, want)
		}
	}
}
