package httpapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"latchkey/internal/apitest"
)

// The link in the email after registration verifies the email address once.
func TestVerifyEmail(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	token := s.Outbox.Token(t, "ann@example.com", "verify-email")
	if a := ann.Do("GET", "/auth/me", nil).Want(200); a.JSON["user"].(map[string]any)["emailVerified"] != false {
		t.Errorf("emailVerified after registration: got %s, want false", a.Raw)
	}

	// Opening the link with GET does not use the token.
	s.NewClient().Do("GET", "/auth/email/verify", nil).Want(405)
	stranger := s.NewClient()
	if a := stranger.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200); a.Cookie != nil {
		t.Errorf("session cookie after verification: got %s, want none", a.Cookie)
	}

	if a := ann.Do("GET", "/auth/me", nil).Want(200); a.JSON["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("emailVerified: got %s, want true", a.Raw)
	}

	stranger.Do("POST", "/auth/email/verify", map[string]any{"token": token}).WantCode(400, "invalid_token")

	// A verified account gets no more links, and the response is the same.
	s.ResetLimits()
	ann.Do("POST", "/auth/email/resend", nil).Want(202)
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails to a verified account: got %d, want 0", n)
	}
}

// A new link invalidates the previous one.
func TestResendVerification(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	first := s.Outbox.Token(t, "ann@example.com", "verify-email")
	ann.Do("POST", "/auth/email/resend", nil).Want(202)
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails within a minute: got %d, want 1", n)
	}

	s.ResetLimits()
	ann.Do("POST", "/auth/email/resend", nil).Want(202)
	second := s.Outbox.Token(t, "ann@example.com", "verify-email")
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": first}).WantCode(400, "invalid_token")
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": second}).Want(200)
}

// A new email address takes effect when it is verified. Other sessions end, and the browser
// that verified it stays signed in.
func TestChangeEmail(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")

	verify := s.Outbox.Token(t, "ann@example.com", "verify-email")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "Ann@Example.com"}).WantCode(400, "validation_failed")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "New@Example.com"}).Want(202)
	warning := s.Outbox.Subject(t, "ann@example.com", "Your Latchkey email address is about to change")
	token := s.Outbox.Token(t, "new@example.com", "verify-email")
	if apitest.LinkPattern.MatchString(warning.Text) {
		t.Errorf("the warning to the old email contains the link:\n%s", warning.Text)
	}

	// Until then nothing has changed.
	if a := ann.Do("GET", "/auth/me", nil).Want(200); a.Text("user", "email") != "ann@example.com" {
		t.Errorf("account: got %s, want email ann@example.com", a.Raw)
	}

	before := ann.Clone()
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
	a := ann.Do("GET", "/auth/session", nil).Want(200)
	if ann.Token == before.Token || a.Text("email") != "new@example.com" {
		t.Errorf("session of the browser that verified: got %s, want a new token and new@example.com", a.Raw)
	}

	if a := ann.Do("GET", "/auth/activity", nil); a.JSON["events"].([]any)[0].(map[string]any)["sessionId"] != ann.SessionID() {
		t.Errorf("session of the last event: got %s, want %s", a.Raw, ann.SessionID())
	}

	if !ann.IsKnown(s.Account("new@example.com")) || before.IsKnown(s.Account("new@example.com")) {
		t.Error("known devices: want the browser to be known with its new cookie, and unknown with the old one")
	}

	before.Do("GET", "/auth/session", nil).Want(401)
	if a := other.Do("GET", "/auth/session", nil).Want(401); a.Text("reason") != "email_changed" {
		t.Errorf("other session: got %s, want reason email_changed", a.Raw)
	}

	if a := ann.Do("GET", "/auth/me", nil).Want(200); a.Text("user", "email") != "new@example.com" || a.JSON["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("account: got %s, want email new@example.com", a.Raw)
	}

	if s.NewClient().Login("ann@example.com", apitest.Password) || !s.NewClient().Login("new@example.com", apitest.Password) {
		t.Error("login: want the new email to work and the old one to fail")
	}

	for _, used := range []string{token, verify} {
		ann.Do("POST", "/auth/email/verify", map[string]any{"token": used}).WantCode(400, "invalid_token")
	}

	for _, to := range []string{"ann@example.com", "new@example.com"} {
		s.Outbox.Subject(t, to, "Your Latchkey email address was changed")
	}
}

// Each warning to the current email names a requested one. Requesting the same change again
// keeps the link valid.
func TestChangeEmailAgain(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	for _, to := range []string{"friend@example.com", "new@example.com"} {
		ann.Do("POST", "/auth/email/change", map[string]any{"email": to}).Want(202)
		warning := s.Outbox.Subject(t, "ann@example.com", "Your Latchkey email address is about to change")
		if !strings.Contains(warning.Text, to) {
			t.Errorf("warning: got %q, want %s in it", warning.Text, to)
		}
	}

	token := s.Outbox.Token(t, "new@example.com", "verify-email")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200)
}

// If another user is signed in to the browser that verifies, that session is unaffected.
func TestChangeEmailInOtherSession(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	eve := s.Register("eve@example.com")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	token := s.Outbox.Token(t, "new@example.com", "verify-email")
	if a := eve.Do("POST", "/auth/email/verify", map[string]any{"token": token}).Want(200); a.Cookie != nil {
		t.Errorf("Eve's cookie: got %s, want none", a.Cookie)
	}

	if a := eve.Do("GET", "/auth/session", nil).Want(200); a.Text("email") != "eve@example.com" {
		t.Errorf("email: got %s, want eve@example.com", a.Raw)
	}

	ann.Do("GET", "/auth/session", nil).Want(401)
}

// No link is sent to the email address of another account, and the response does not reveal
// that.
func TestChangeEmailTaken(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	s.Register("eve@example.com")
	s.Outbox.Token(t, "eve@example.com", "verify-email")
	taken := ann.Do("POST", "/auth/email/change", map[string]any{"email": "eve@example.com"}).Want(202)
	free := ann.Do("POST", "/auth/email/change", map[string]any{"email": "free@example.com"}).Want(202)
	token := s.Outbox.Token(t, "free@example.com", "verify-email")
	if string(free.Raw) != string(taken.Raw) {
		t.Errorf("responses differ: free email %s, taken email %s", free.Raw, taken.Raw)
	}

	if n := s.MailsTo("eve@example.com"); n != 0 {
		t.Errorf("emails to Eve: got %d, want 0", n)
	}

	// An email that is taken before the link is used stays with its owner.
	s.Register("free@example.com")
	ann.Do("POST", "/auth/email/verify", map[string]any{"token": token}).WantCode(409, "email_taken")
	if a := ann.Do("GET", "/auth/session", nil).Want(200); a.Text("email") != "ann@example.com" {
		t.Errorf("email: got %s, want ann@example.com", a.Raw)
	}

	if _, err := s.Users.ByEmail(context.Background(), "ann@example.com"); err != nil {
		t.Error(err)
	}
}

// The link to a new email address expires.
func TestChangeEmailExpires(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	token := s.Outbox.Token(t, "new@example.com", "verify-email")
	s.Advance(24 * time.Hour)
	s.NewClient().Do("POST", "/auth/email/verify", map[string]any{"token": token}).WantCode(400, "invalid_token")
}
