package httpapi_test

import (
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
)

// Without a mail server, routes that promise an email fail, whether or not the account exists. A client
// must not retry, and the log is not filled with errors.
func TestMailNotConfigured(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.Register("ann@example.com")
	s.Advance(apitest.StepUpMaxAge + time.Second) // the user is not asked for a password in vain

	for _, tc := range []struct {
		path string
		body any
	}{
		{"/auth/password/forgot", map[string]any{"email": "ann@example.com"}},
		{"/auth/password/forgot", map[string]any{"email": "nobody@example.com"}},
		{"/auth/email/resend", nil},
		{"/auth/email/change", map[string]any{"email": "new@example.com"}},
	} {
		a := ann.Do("POST", tc.path, tc.body).WantCode(503, "mail_not_configured")
		if got := a.Header.Get("Retry-After"); got != "" {
			t.Errorf("%s: Retry-After: got %s, want none", a.Request, got)
		}
	}

	if log := s.Log.String(); strings.Contains(log, "request failed") {
		t.Errorf("log: got %s, want no errors", log)
	}
	if dump := s.DumpMongo(); strings.Contains(dump, "new@example.com") {
		t.Errorf("the account contains the request for a new email: %s", dump)
	}
}
