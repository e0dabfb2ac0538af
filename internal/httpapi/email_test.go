package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"latchkey/internal/user"
)

// The owner of an address confirms it with the link that registering sends, once.
func TestVerifyEmail(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.register("ann@example.com")
	token := s.outbox.token(t, "ann@example.com", "verify-email")
	if a := ann.do("GET", "/auth/me", nil).want(200); a.body["user"].(map[string]any)["emailVerified"] != false {
		t.Errorf("verified by registering: %s", a.raw)
	}
	// Opening the link is no use of it.
	s.client().do("GET", "/auth/email/verify", nil).want(405)
	stranger := s.client()
	if a := stranger.do("POST", "/auth/email/verify", map[string]any{"token": token}).want(200); a.cookie != nil {
		t.Errorf("a link begins a session: %s", a.cookie)
	}
	if a := ann.do("GET", "/auth/me", nil).want(200); a.body["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("not verified: %s", a.raw)
	}
	stranger.do("POST", "/auth/email/verify", map[string]any{"token": token}).wantCode(400, "invalid_token")

	// One who is verified gets no further link, and the same answer.
	s.forgetLimits()
	ann.do("POST", "/auth/email/resend", nil).want(202)
	if n := s.settle("ann@example.com"); n != 0 {
		t.Errorf("%d mails to who is verified", n)
	}
}

// A new link makes the one before it void.
func TestResendVerification(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.register("ann@example.com")
	first := s.outbox.token(t, "ann@example.com", "verify-email")
	ann.do("POST", "/auth/email/resend", nil).want(202)
	if n := s.settle("ann@example.com"); n != 0 {
		t.Errorf("%d mails within the minute", n)
	}
	s.forgetLimits()
	ann.do("POST", "/auth/email/resend", nil).want(202)
	second := s.outbox.token(t, "ann@example.com", "verify-email")
	ann.do("POST", "/auth/email/verify", map[string]any{"token": first}).wantCode(400, "invalid_token")
	ann.do("POST", "/auth/email/verify", map[string]any{"token": second}).want(200)
}

// Another address is the account's once it has confirmed. Other sessions speak in the
// name of the old one and end; the browser that confirms goes on.
func TestChangeEmail(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann, other := s.register("ann@example.com"), s.client()
	if !other.login("ann@example.com", testPassword) {
		t.Fatal("login")
	}
	verify := s.outbox.token(t, "ann@example.com", "verify-email")
	ann.do("POST", "/auth/email/change", map[string]any{"email": "Ann@Example.com"}).wantCode(400, "validation_failed")
	ann.do("POST", "/auth/email/change", map[string]any{"email": "New@Example.com"}).want(202)
	asked := s.outbox.subject(t, "ann@example.com", "Your Latchkey email address is about to change")
	token := s.outbox.token(t, "new@example.com", "verify-email")
	if linkIn.MatchString(asked.Text) {
		t.Errorf("the old address gets the link:\n%s", asked.Text)
	}
	// Until then nothing has changed.
	if a := ann.do("GET", "/auth/me", nil).want(200); a.text("user", "email") != "ann@example.com" {
		t.Errorf("%s", a.raw)
	}

	before := ann.clone()
	ann.do("POST", "/auth/email/verify", map[string]any{"token": token}).want(200)
	a := ann.do("GET", "/auth/session", nil).want(200)
	if ann.token == before.token || a.text("email") != "new@example.com" {
		t.Errorf("the session of the browser that confirmed: %s", a.raw)
	}
	if a := ann.do("GET", "/auth/activity", nil); a.body["events"].([]any)[0].(map[string]any)["sessionId"] != ann.id() {
		t.Errorf("%s", a.raw)
	}
	if newDevices(s.cookie, [][]byte{[]byte(testSecret)}).known(&http.Request{Header: http.Header{"Cookie": {"device=" + ann.device}}}, "new@example.com") == "" {
		t.Error("the device is a stranger's to the new address")
	}
	before.do("GET", "/auth/session", nil).want(401)
	if a := other.do("GET", "/auth/session", nil).want(401); a.text("reason") != "email_changed" {
		t.Errorf("the other session: %s", a.raw)
	}
	if a := ann.do("GET", "/auth/me", nil).want(200); a.text("user", "email") != "new@example.com" || a.body["user"].(map[string]any)["emailVerified"] != true {
		t.Errorf("%s", a.raw)
	}
	if s.client().login("ann@example.com", testPassword) || !s.client().login("new@example.com", testPassword) {
		t.Error("the old address logs in, or the new one does not")
	}
	for _, used := range []string{token, verify} {
		ann.do("POST", "/auth/email/verify", map[string]any{"token": used}).wantCode(400, "invalid_token")
	}
	for _, to := range []string{"ann@example.com", "new@example.com"} {
		s.outbox.subject(t, to, "Your Latchkey email address was changed")
	}
}

// Ending the other sessions voids a change of address that one of them asked for, and
// every address that gets a link is in a warning to the one of now.
func TestEmailChangeIsCancelled(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann, thief := s.register("ann@example.com"), s.client()
	if !thief.login("ann@example.com", testPassword) {
		t.Fatal("login")
	}
	for _, to := range []string{"friend@example.com", "evil@example.com"} {
		thief.do("POST", "/auth/email/change", map[string]any{"email": to}).want(202)
	}
	token := s.outbox.token(t, "evil@example.com", "verify-email")
	for range 2 {
		s.outbox.subject(t, "ann@example.com", "Your Latchkey email address is about to change")
	}
	// To ask again makes the link that is there no worse.
	thief.do("POST", "/auth/email/change", map[string]any{"email": "evil@example.com"}).want(202)
	s.settle("")
	if _, _, err := s.users.ByTicket(context.Background(), ann.do("GET", "/auth/me", nil).text("user", "id"), user.ChangeTicket, hashOf(token)); err != nil {
		t.Errorf("the link that was sent is void: %v", err)
	}
	ann.do("DELETE", "/auth/sessions/"+thief.id(), nil).want(204)
	s.client().do("POST", "/auth/email/verify", map[string]any{"token": token}).wantCode(400, "invalid_token")
	if a := ann.do("GET", "/auth/me", nil).want(200); a.text("user", "email") != "ann@example.com" {
		t.Errorf("%s", a.raw)
	}
}

// hashOf is what is kept of a token.
func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A session of someone else in the browser that confirms is left alone, and gets
// nothing.
func TestChangeEmailElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann, eve := s.register("ann@example.com"), s.register("eve@example.com")
	ann.do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).want(202)
	token := s.outbox.token(t, "new@example.com", "verify-email")
	if a := eve.do("POST", "/auth/email/verify", map[string]any{"token": token}).want(200); a.cookie != nil {
		t.Errorf("Eve gets %s", a.cookie)
	}
	if a := eve.do("GET", "/auth/session", nil).want(200); a.text("email") != "eve@example.com" {
		t.Errorf("%s", a.raw)
	}
	ann.do("GET", "/auth/session", nil).want(401)
}

// An address that another account has gets no link, and the caller is not told.
func TestChangeEmailTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.register("ann@example.com")
	s.register("eve@example.com")
	s.outbox.token(t, "eve@example.com", "verify-email")
	taken := ann.do("POST", "/auth/email/change", map[string]any{"email": "eve@example.com"}).want(202)
	free := ann.do("POST", "/auth/email/change", map[string]any{"email": "free@example.com"}).want(202)
	token := s.outbox.token(t, "free@example.com", "verify-email")
	if string(free.raw) != string(taken.raw) {
		t.Errorf("free %s, taken %s", free.raw, taken.raw)
	}
	if n := s.settle("eve@example.com"); n != 0 {
		t.Errorf("%d mails to Eve", n)
	}
	// One that is taken between the link and its use stays who it is.
	s.register("free@example.com")
	ann.do("POST", "/auth/email/verify", map[string]any{"token": token}).wantCode(409, "email_taken")
	if a := ann.do("GET", "/auth/session", nil).want(200); a.text("email") != "ann@example.com" {
		t.Errorf("%s", a.raw)
	}
	if _, err := s.users.ByEmail(context.Background(), "ann@example.com"); err != nil {
		t.Error(err)
	}
}

// A link that is not used in time is void, and a session that is old must step up.
func TestChangeEmailExpires(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.register("ann@example.com")
	ann.do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).want(202)
	token := s.outbox.token(t, "new@example.com", "verify-email")
	s.advance(24 * time.Hour)
	s.client().do("POST", "/auth/email/verify", map[string]any{"token": token}).wantCode(400, "invalid_token")
}
