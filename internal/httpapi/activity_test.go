package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
)

// Every action on an account is recorded once, in the collection and in the log, whether it
// succeeded or failed (OWASP ASVS 5.0 16.3.1).
func TestEveryEventOnce(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.NewClient()
	id := ""
	do := func(c *apitest.Client, method, path string, body map[string]any, status int, want string, about bool) {
		t.Helper()

		header := http.Header{}
		raw := []byte(nil)
		if body != nil {
			raw = apitest.Encode(body)
			header.Set("Content-Type", "application/json")
		}

		header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
		if want == "cross_origin_denied" {
			header.Set("Origin", "https://evil.example")
		}

		a := c.Send(method, path, header, raw).Want(status)
		if id == "" {
			id = a.Text("user", "id")
		}

		events := s.TakeEvents()
		if want == "" {
			if len(events) != 0 {
				t.Errorf("%s: got events %v, want none", a.Request, events)
			}

			return
		}

		if len(events) != 1 || events[0]["name"] != want || events[0]["requestId"] != a.Header.Get("X-Request-Id") || (events[0]["userId"] == id) != about {
			t.Errorf("%s: got events %v, want one %s about Ann: %v", a.Request, events, want, about)

			return
		}

		if events[0]["device"] != "Firefox 140 on Linux" || events[0]["ip"] != "127.0.0.1" || !strings.HasPrefix(events[0]["route"].(string), method+" /") {
			t.Errorf("%s: got event %v, want its device, IP and route", a.Request, events[0])
		}

		if n := strings.Count(s.Log.String(), `msg="security event" event=`+want+" eventId="+events[0]["_id"].(interface{ Hex() string }).Hex()); n != 1 {
			t.Errorf("log lines for %s: got %d, want 1", want, n)
		}
	}

	wrong := map[string]any{"email": "ann@example.com", "password": "wrong password"}
	right := map[string]any{"email": "ann@example.com", "password": apitest.Password}

	do(ann, "POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": apitest.Password}, 201, "registered", true)
	do(s.NewClient(), "POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": apitest.Password}, 409, "", false)
	do(s.NewClient(), "POST", "/auth/login", wrong, 401, "login_failed", true)
	do(s.NewClient(), "POST", "/auth/login", map[string]any{"email": "nobody@example.com", "password": "x"}, 401, "login_failed", false)
	do(s.NewClient(), "POST", "/auth/login", map[string]any{"email": "nobody"}, 400, "", false)
	other := s.NewClient()
	do(other, "POST", "/auth/login", right, 200, "login", true)
	do(ann, "POST", "/auth/login", right, 200, "login", true)
	do(ann, "GET", "/auth/me", nil, 200, "", false)
	do(ann, "POST", "/auth/rotate-session", nil, 200, "session_rotated", true)
	do(ann, "DELETE", "/auth/sessions/"+other.SessionID(), nil, 204, "session_revoked", true)
	do(ann, "DELETE", "/auth/sessions", nil, 200, "sessions_revoked", true)
	do(ann, "PUT", "/profile", map[string]any{"name": "Bob"}, 200, "profile_updated", true)
	do(ann, "POST", "/auth/step-up", map[string]any{"password": "wrong password"}, 401, "step_up_failed", true)
	do(ann, "POST", "/auth/step-up", map[string]any{"password": apitest.Password}, 200, "step_up", true)
	do(ann, "POST", "/auth/password/change", map[string]any{"currentPassword": "wrong password", "newPassword": apitest.NewPassword}, 401, "password_change_failed", true)
	do(ann, "POST", "/auth/password/change", map[string]any{"currentPassword": apitest.Password, "newPassword": apitest.NewPassword}, 200, "password_changed", true)
	s.Outbox.Token(t, "ann@example.com", "verify-email") // void by now
	s.ResetLimits()
	do(ann, "POST", "/auth/email/resend", nil, 202, "email_verify_asked", true)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": "x"}, 400, "email_verify_failed", false)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": s.Outbox.Token(t, "ann@example.com", "verify-email")}, 200, "email_verified", true)
	do(ann, "POST", "/auth/email/change", map[string]any{"email": "new@example.com"}, 202, "email_change_asked", true)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": s.Outbox.Token(t, "new@example.com", "verify-email")}, 200, "email_changed", true)
	do(s.NewClient(), "POST", "/auth/password/forgot", map[string]any{"email": "new@example.com"}, 202, "password_reset_asked", false)
	do(s.NewClient(), "POST", "/auth/password/reset", map[string]any{"token": "x", "password": apitest.NewPassword}, 400, "password_reset_failed", false)
	do(s.NewClient(), "POST", "/auth/password/reset", map[string]any{"token": s.Outbox.Token(t, "new@example.com", "reset-password"), "password": apitest.Password}, 200, "password_reset", true)
	do(ann, "POST", "/auth/logout", nil, 401, "", false)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": apitest.Password}, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 200, "logout", true)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": apitest.Password}, 200, "login", true)
	do(ann, "DELETE", "/auth/sessions/"+ann.SessionID(), nil, 204, "logout", true)
	do(ann, "POST", "/auth/login", map[string]any{"email": "new@example.com", "password": apitest.Password}, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 403, "cross_origin_denied", false)
	do(ann, "DELETE", "/profile", nil, 204, "account_deleted", true)
}

// Users see the events of their own account only, newest first.
func TestActivity(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann, eve := s.Register("ann@example.com"), s.Register("eve@example.com")
	s.NewClient().Login("ann@example.com", "wrong password")

	for range 59 {
		ann.Do("PUT", "/profile", map[string]any{"name": "Ann"}).Want(200)
	}

	page := ann.Do("GET", "/auth/activity", nil).Want(200)
	events := page.JSON["events"].([]any)
	if len(events) != httpapi.ActivityPage || events[0].(map[string]any)["event"] != "profile_updated" {
		t.Fatalf("events: got %d, want a full page: %s", len(events), page.Raw)
	}

	rest := ann.Do("GET", "/auth/activity?before="+page.Text("next"), nil).Want(200)
	tail := rest.JSON["events"].([]any)
	if len(tail) != 61-httpapi.ActivityPage || rest.JSON["next"] != nil {
		t.Fatalf("last page: got %d events with next %v", len(tail), rest.JSON["next"])
	}

	first, second := tail[len(tail)-1].(map[string]any), tail[len(tail)-2].(map[string]any)
	if first["event"] != "registered" || second["event"] != "login_failed" || first["sessionId"] == "" || first["ip"] != "127.0.0.1" || first["newDevice"] != nil || first["count"] != nil {
		t.Errorf("oldest events: got %v and %v, want registered and login_failed", first, second)
	}

	for path, status := range map[string]int{"?before=x": 400, "?before=": 400, "?before=" + page.Text("next") + "&before=" + page.Text("next"): 400} {
		ann.Do("GET", "/auth/activity"+path, nil).Want(status)
	}

	hers := eve.Do("GET", "/auth/activity", nil).Want(200)
	if n := len(hers.JSON["events"].([]any)); n != 1 {
		t.Errorf("Eve's events: got %d, want only her own: %s", n, hers.Raw)
	}

	// One of Ann's events as a cursor reveals nothing to Eve.
	if a := eve.Do("GET", "/auth/activity?before="+page.Text("next"), nil).Want(200); len(a.JSON["events"].([]any)) != 0 {
		t.Errorf("%s", a.Raw)
	}
}

// An email reports a login from a new device, but not from a known one.
func TestNewDevice(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	s.Outbox.Token(t, "ann@example.com", "verify-email")
	ann.Do("POST", "/auth/logout", nil).Want(200)
	if ann.Device == "" {
		t.Fatal("the logout cleared the device cookie")
	}

	login := func(c *apitest.Client, name, email string) {
		header := http.Header{"User-Agent": {name}, "Content-Type": {"application/json"}}
		c.Send("POST", "/auth/login", header, apitest.Encode(map[string]any{"email": email, "password": apitest.Password})).Want(200)
	}

	login(ann, "one", "ann@example.com")
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails about the device of the registration: got %d, want 0", n)
	}

	stranger := s.NewClient()
	login(stranger, "two", "ann@example.com")
	m := s.Outbox.Subject(t, "ann@example.com", "New sign-in to your Latchkey account")
	if !strings.Contains(m.Text, "127.0.0.1") {
		t.Errorf("got an email without the name of the device:\n%s", m.Text)
	}

	login(stranger, "two", "ann@example.com")

	// Without cookies every login is from a new device, but one email a day is enough.
	login(s.NewClient(), "two", "ann@example.com")
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails about a known device: got %d, want 0", n)
	}

	// A device is not remembered if the session ends with the browser.
	borrowed := s.NewClient()
	borrowed.Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.Password, "rememberMe": false}).Want(200)
	if borrowed.Device != "" {
		t.Error("got a persistent device cookie for a session that ends with the browser")
	}

	// A known device is new to another account, and then known to both.
	s.Register("eve@example.com")
	s.Outbox.Token(t, "eve@example.com", "verify-email")
	login(stranger, "two", "eve@example.com")
	login(stranger, "two", "ann@example.com")
	if ann, eve := s.MailsTo("ann@example.com"), s.MailsTo("eve@example.com"); ann != 0 || eve != 1 {
		t.Errorf("emails: got %d to Ann and %d to Eve", ann, eve)
	}
}
