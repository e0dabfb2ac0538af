package httpapi_test

import (
	"net/http"
	"testing"

	"latchkey/internal/apitest"
)

// Codes of second factors are counted at logins and step-ups, unless they were not judged.
func TestFactorMetrics(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{})
	c := s.Register("ann@example.com")
	app := c.Enrol()
	wantChecks := func(when string, want map[string]string) {
		t.Helper()

		for labels, count := range want {
			if got := s.Metric(`latchkey_factor_checks_total{` + labels + `}`); got != count {
				t.Errorf("%s: %s is %q, want %s", when, labels, got, count)
			}
		}
	}
	wantChecks("after the enrolment", map[string]string{
		`factor="totp",outcome="success"`:          "0",
		`factor="totp",outcome="failure"`:          "0",
		`factor="recovery_code",outcome="success"`: "0",
		`factor="recovery_code",outcome="failure"`: "0",
	})

	// 1. A login with a wrong and a right code.
	other := s.NewClient()
	complete := func(status int, body map[string]any) {
		t.Helper()
		other.Do("POST", "/auth/login/factor", body).Want(status)
	}
	other.Do("POST", "/auth/login", apitest.Credentials("ann@example.com", apitest.Password)).Want(http.StatusOK)
	complete(http.StatusUnauthorized, map[string]any{"code": app.WrongCode()})
	complete(http.StatusOK, map[string]any{"code": app.NextCode()})
	complete(http.StatusUnauthorized, map[string]any{"code": app.NextCode()}) // no pending login

	// 2. A step-up with the password alone, and with recovery codes.
	stepUp := func(status int, body map[string]any) {
		t.Helper()
		c.Do("POST", "/auth/step-up", body).Want(status)
	}
	stepUp(http.StatusOK, map[string]any{"password": apitest.Password})
	stepUp(http.StatusUnauthorized, map[string]any{"recoveryCode": "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA"})
	for _, code := range app.RecoveryCodes[:2] {
		stepUp(http.StatusOK, map[string]any{"recoveryCode": code})
	}

	wantChecks("at the end", map[string]string{
		`factor="totp",outcome="success"`:          "1",
		`factor="totp",outcome="failure"`:          "1",
		`factor="recovery_code",outcome="success"`: "2",
		`factor="recovery_code",outcome="failure"`: "1",
	})
	if got := s.Metric(`latchkey_sessions_started_total{level="aal2",method="password"}`); got != "1" {
		t.Errorf("sessions with a second factor: got %q, want 1", got)
	}
}
