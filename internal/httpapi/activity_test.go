package httpapi

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
)

// recorded returns the events in the collection, the oldest first, and forgets them.
func (s *site) recorded() []bson.M {
	s.t.Helper()
	ctx := context.Background()
	if err := s.activity.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
	events := s.database().Collection("activity")
	found, err := events.Find(ctx, bson.D{})
	if err != nil {
		s.t.Fatal(err)
	}
	var all []bson.M
	if err := found.All(ctx, &all); err != nil {
		s.t.Fatal(err)
	}
	if _, err := events.DeleteMany(ctx, bson.D{}); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// Whatever is done about an account is recorded once, in the collection and in the log,
// whether it worked or not (OWASP ASVS 5.0 16.3.1).
func TestEveryEventOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.client()
	id := ""
	do := func(c *client, method, path string, body map[string]any, status int, want string, about bool) {
		t.Helper()
		header := http.Header{}
		raw := []byte(nil)
		if body != nil {
			raw = encoded(body)
			header.Set("Content-Type", "application/json")
		}
		header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
		if want == "cross_origin_denied" {
			header.Set("Origin", "https://evil.example")
		}
		a := c.send(method, path, header, raw).want(status)
		if id == "" {
			id = a.text("user", "id")
		}
		events := s.recorded()
		if want == "" {
			if len(events) != 0 {
				t.Errorf("%s records %v", a.request, events)
			}
			return
		}
		if len(events) != 1 || events[0]["name"] != want || events[0]["requestId"] != a.header.Get(requestIDHeader) || (events[0]["userId"] == id) != about {
			t.Errorf("%s records %v, want one %s, about Ann: %v", a.request, events, want, about)
			return
		}
		if events[0]["device"] != "Firefox on Linux" || events[0]["ip"] != "127.0.0.1" || !strings.HasPrefix(events[0]["route"].(string), method+" /") {
			t.Errorf("%s records %v", a.request, events[0])
		}
		if n := strings.Count(s.log.String(), `msg="security event" event=`+want+" eventId="+events[0]["_id"].(interface{ Hex() string }).Hex()); n != 1 {
			t.Errorf("%s is %d times in the log", want, n)
		}
	}
	wrong := map[string]any{"email": "ann@example.com", "password": "wrong password"}
	right := map[string]any{"email": "ann@example.com", "password": testPassword}

	do(ann, "POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": testPassword}, 201, "registered", true)
	do(s.client(), "POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": testPassword}, 409, "", false)
	do(s.client(), "POST", "/auth/login", wrong, 401, "login_failed", true)
	do(s.client(), "POST", "/auth/login", map[string]any{"email": "nobody@example.com", "password": "x"}, 401, "login_failed", false)
	do(s.client(), "POST", "/auth/login", map[string]any{"email": "nobody"}, 400, "", false)
	other := s.client()
	do(other, "POST", "/auth/login", right, 200, "login", true)
	do(ann, "POST", "/auth/login", right, 200, "login", true)
	do(ann, "GET", "/auth/me", nil, 200, "", false)
	do(ann, "POST", "/auth/rotate-session", nil, 200, "session_rotated", true)
	do(ann, "DELETE", "/auth/sessions/"+other.id(), nil, 204, "session_revoked", true)
	do(ann, "DELETE", "/auth/sessions", nil, 200, "sessions_revoked", true)
	do(ann, "PUT", "/profile", map[string]any{"name": "Bob"}, 200, "profile_updated", true)
	do(ann, "POST", "/auth/step-up", map[string]any{"password": "wrong password"}, 401, "step_up_failed", true)
	do(ann, "POST", "/auth/step-up", map[string]any{"password": testPassword}, 200, "step_up", true)
	do(ann, "POST", "/auth/password/change", map[string]any{"currentPassword": "wrong password", "newPassword": newPassword}, 401, "password_change_failed", true)
	do(ann, "POST", "/auth/password/change", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}, 200, "password_changed", true)
	s.outbox.token(t, "ann@example.com", "verify-email") // void by now
	s.forgetLimits()
	do(ann, "POST", "/auth/email/resend", nil, 202, "email_verify_asked", true)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": "x"}, 400, "email_verify_failed", false)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": s.outbox.token(t, "ann@example.com", "verify-email")}, 200, "email_verified", true)
	do(ann, "POST", "/auth/email/change", map[string]any{"email": "new@example.com"}, 202, "email_change_asked", true)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": s.outbox.token(t, "new@example.com", "verify-email")}, 200, "email_changed", true)
	do(s.client(), "POST", "/auth/password/forgot", map[string]any{"email": "new@example.com"}, 202, "password_reset_asked", false)
	do(s.client(), "POST", "/auth/password/reset", map[string]any{"token": "x", "password": newPassword}, 400, "password_reset_failed", false)
	do(s.client(), "POST", "/auth/password/reset", map[string]any{"token": s.outbox.token(t, "new@example.com", "reset-password"), "password": testPassword}, 200, "password_reset", true)
	do(ann, "POST", "/auth/logout", nil, 401, "", false)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": testPassword}, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 200, "logout", true)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": testPassword}, 200, "login", true)
	do(ann, "DELETE", "/auth/sessions/"+ann.id(), nil, 204, "logout", true)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": testPassword}, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 403, "cross_origin_denied", false)
	do(ann, "DELETE", "/profile", nil, 204, "account_deleted", true)
}

// A user sees what was done with their account, the latest first, and nothing of others.
func TestActivity(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ann, eve := s.register("ann@example.com"), s.register("eve@example.com")
	s.client().login("ann@example.com", "wrong password")
	for range 59 {
		ann.do("PUT", "/profile", map[string]any{"name": "Ann"}).want(200)
	}
	page := ann.do("GET", "/auth/activity", nil).want(200)
	events := page.body["events"].([]any)
	if len(events) != activityPage || events[0].(map[string]any)["event"] != "profile_updated" {
		t.Fatalf("%d events: %s", len(events), page.raw)
	}
	rest := ann.do("GET", "/auth/activity?before="+page.text("next"), nil).want(200)
	tail := rest.body["events"].([]any)
	if len(tail) != 61-activityPage || rest.body["next"] != nil {
		t.Fatalf("%d events, next %v", len(tail), rest.body["next"])
	}
	first, second := tail[len(tail)-1].(map[string]any), tail[len(tail)-2].(map[string]any)
	if first["event"] != "registered" || second["event"] != "login_failed" || first["sessionId"] == "" || first["ip"] != "127.0.0.1" || first["newDevice"] != nil || first["count"] != nil {
		t.Errorf("it began with %v, %v", first, second)
	}
	for path, status := range map[string]int{"?before=x": 400, "?before=": 400, "?before=" + page.text("next") + "&before=" + page.text("next"): 400} {
		ann.do("GET", "/auth/activity"+path, nil).want(status)
	}
	hers := eve.do("GET", "/auth/activity", nil).want(200)
	if n := len(hers.body["events"].([]any)); n != 1 {
		t.Errorf("Eve sees %d events: %s", n, hers.raw)
	}
	// An event of Ann's as a cursor shows Eve nothing.
	if a := eve.do("GET", "/auth/activity?before="+page.text("next"), nil).want(200); len(a.body["events"].([]any)) != 0 {
		t.Errorf("%s", a.raw)
	}
}

// The owner of an account is told by mail of a login from a device that is new to it,
// and not of those from the others.
func TestNewDevice(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{mail: &outbox{}})
	ann := s.register("ann@example.com")
	s.outbox.token(t, "ann@example.com", "verify-email")
	ann.do("POST", "/auth/logout", nil).want(200)
	if ann.device == "" {
		t.Fatal("a logout takes the device's cookie")
	}
	login := func(c *client, name, email string) {
		header := http.Header{"User-Agent": {name}, "Content-Type": {"application/json"}}
		c.send("POST", "/auth/login", header, encoded(map[string]any{"email": email, "password": testPassword})).want(200)
	}
	login(ann, "one", "ann@example.com")
	if n := s.settle("ann@example.com"); n != 0 {
		t.Errorf("%d mails about the device that she registered with", n)
	}
	stranger := s.client()
	login(stranger, "two", "ann@example.com")
	m := s.outbox.subject(t, "ann@example.com", "New sign-in to your Latchkey account")
	if !strings.Contains(m.Text, "127.0.0.1") {
		t.Errorf("the mail does not say where:\n%s", m.Text)
	}
	login(stranger, "two", "ann@example.com")
	// Without cookies it is a new device each time; once a day is enough.
	login(s.client(), "two", "ann@example.com")
	if n := s.settle("ann@example.com"); n != 0 {
		t.Errorf("%d mails about a device that she was told of", n)
	}
	// A computer of others is not remembered.
	borrowed := s.client()
	borrowed.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword, "rememberMe": false}).want(200)
	if borrowed.device != "" {
		t.Error("a device is remembered where the session is not")
	}
	// Another account on a known device is new to it, and then both are known.
	s.register("eve@example.com")
	s.outbox.token(t, "eve@example.com", "verify-email")
	login(stranger, "two", "eve@example.com")
	login(stranger, "two", "ann@example.com")
	if ann, eve := s.settle("ann@example.com"), s.settle("eve@example.com"); ann != 0 || eve != 1 {
		t.Errorf("%d mails to Ann, %d to Eve", ann, eve)
	}
}
