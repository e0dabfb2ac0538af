package httpapi_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson/primitive"

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

	// do sends a request that must cause the event want, or none. about is set if the event
	// is about Ann's account.
	do := func(c *apitest.Client, method, path string, body map[string]any, status int, want string, about bool) {
		t.Helper()

		header := http.Header{"User-Agent": {firefoxOnLinux}}
		var raw []byte
		if body != nil {
			raw = apitest.Encode(body)
			header.Set("Content-Type", "application/json")
		}
		if want == "cross_origin_denied" {
			header.Set("Origin", "https://evil.example")
		}

		a := c.Send(method, path, header, raw).Want(status)
		if id == "" {
			id = a.Text("user", "id")
		}

		events := s.TakeEvents()
		if want == "" && len(events) == 0 {
			return
		}
		if len(events) != 1 || events[0]["name"] != want || events[0]["requestId"] != a.Header.Get("X-Request-Id") || (events[0]["userId"] == id) != about {
			t.Errorf("%s: got events %v, want one %q about Ann: %v", a.Request, events, want, about)

			return
		}

		e := events[0]
		if e["device"] != "Firefox 128 on Linux" || e["ip"] != "127.0.0.1" || !strings.HasPrefix(e["route"].(string), method+" /") {
			t.Errorf("%s: got event %v, want its device, IP and route", a.Request, e)
		}

		line := `msg="security event" event=` + want + " eventId=" + e["_id"].(primitive.ObjectID).Hex()
		if n := strings.Count(s.Log.String(), line); n != 1 {
			t.Errorf("log lines for %s: got %d, want 1", want, n)
		}
	}

	ok := apitest.AnnsLogin
	wrong := apitest.Credentials("ann@example.com", "wrong password")
	newLogin := apitest.Credentials("new@example.com", apitest.Password)
	register := map[string]any{"name": "Ann", "email": "ann@example.com", "password": apitest.Password}
	change := func(current string) map[string]any {
		return map[string]any{"currentPassword": current, "newPassword": apitest.NewPassword}
	}
	token := func(email, page string) map[string]any {
		return map[string]any{"token": s.Outbox.Token(t, email, page)}
	}

	do(ann, "POST", "/auth/register", register, 201, "registered", true)
	do(s.NewClient(), "POST", "/auth/register", register, 409, "", false)
	do(s.NewClient(), "POST", "/auth/login", wrong, 401, "login_failed", true)
	do(s.NewClient(), "POST", "/auth/login", apitest.Credentials("nobody@example.com", "x"), 401, "login_failed", false)
	do(s.NewClient(), "POST", "/auth/login", map[string]any{"email": "nobody"}, 400, "", false)

	other := s.NewClient()
	do(other, "POST", "/auth/login", ok, 200, "login", true)
	do(ann, "POST", "/auth/login", ok, 200, "login", true)
	do(ann, "GET", "/auth/me", nil, 200, "", false)
	do(ann, "POST", "/auth/rotate-session", nil, 200, "session_rotated", true)
	do(ann, "DELETE", "/auth/sessions/"+other.SessionID(), nil, 204, "session_revoked", true)
	do(ann, "DELETE", "/auth/sessions", nil, 200, "sessions_revoked", true)
	do(ann, "PUT", "/profile", map[string]any{"name": "Bob"}, 200, "profile_updated", true)

	do(ann, "POST", "/auth/step-up", map[string]any{"password": "wrong password"}, 401, "step_up_failed", true)
	do(ann, "POST", "/auth/step-up", map[string]any{"password": apitest.Password}, 200, "step_up", true)
	do(ann, "POST", "/auth/password/change", change("wrong password"), 401, "password_change_failed", true)
	do(ann, "POST", "/auth/password/change", change(apitest.Password), 200, "password_changed", true)

	token("ann@example.com", "verify-email") // void by now
	s.ResetLimits()
	do(ann, "POST", "/auth/email/resend", nil, 202, "email_verify_requested", true)
	do(ann, "POST", "/auth/email/verify", map[string]any{"token": "x"}, 400, "email_verify_failed", false)
	do(ann, "POST", "/auth/email/verify", token("ann@example.com", "verify-email"), 200, "email_verified", true)
	do(ann, "POST", "/auth/email/change", map[string]any{"email": "new@example.com"}, 202, "email_change_requested", true)
	do(ann, "POST", "/auth/email/verify", token("new@example.com", "verify-email"), 200, "email_changed", true)

	do(s.NewClient(), "POST", "/auth/password/forgot", map[string]any{"email": "new@example.com"}, 202, "password_reset_requested", false)
	reset := token("new@example.com", "reset-password")
	reset["password"] = apitest.Password
	do(s.NewClient(), "POST", "/auth/password/reset", reset, 200, "password_reset", true)
	do(s.NewClient(), "POST", "/auth/password/reset", reset, 400, "password_reset_failed", false)

	do(ann, "POST", "/auth/logout", nil, 401, "", false)
	do(ann, "POST", "/auth/login", newLogin, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 200, "logout", true)
	do(ann, "POST", "/auth/login", newLogin, 200, "login", true)
	do(ann, "DELETE", "/auth/sessions/"+ann.SessionID(), nil, 204, "logout", true)
	do(ann, "POST", "/auth/login", newLogin, 200, "login", true)
	do(ann, "POST", "/auth/logout", nil, 403, "cross_origin_denied", false)
	do(ann, "DELETE", "/profile", nil, 204, "account_deleted", true)
}

// Users see the events of their own account only, newest first.
func TestActivity(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	ann := s.Register("ann@example.com")
	eve := s.Register("eve@example.com")
	s.NewClient().Login("ann@example.com", "wrong password")
	for range httpapi.ActivityPage {
		ann.Do("PUT", "/profile", map[string]any{"name": "Ann"}).Want(200)
	}

	list := func(c *apitest.Client, query string) (names []string, a apitest.Response) {
		a = c.Do("GET", "/auth/activity"+query, nil).Want(200)
		for _, e := range a.JSON["events"].([]any) {
			names = append(names, e.(map[string]any)["event"].(string))
		}

		return names, a
	}

	names, page := list(ann, "")
	if want := slices.Repeat([]string{"profile_updated"}, httpapi.ActivityPage); !slices.Equal(names, want) {
		t.Fatalf("events: got %q, want %d of profile_updated", names, len(want))
	}

	names, rest := list(ann, "?before="+page.Text("next"))
	if want := []string{"login_failed", "registered"}; !slices.Equal(names, want) || rest.JSON["next"] != nil {
		t.Fatalf("last page: got %s, want %q", rest.Raw, want)
	}

	first := rest.JSON["events"].([]any)[1].(map[string]any)
	if first["sessionId"] == "" || first["ip"] != "127.0.0.1" || first["newDevice"] != nil || first["count"] != nil {
		t.Errorf("oldest event: got %v, want a session and an IP, and no empty fields", first)
	}

	for _, query := range []string{"?before=x", "?before=", "?before=" + page.Text("next") + "&before=" + page.Text("next")} {
		ann.Do("GET", "/auth/activity"+query, nil).Want(400)
	}

	// One of Ann's events as a cursor reveals nothing to Eve.
	for query, want := range map[string]int{"": 1, "?before=" + page.Text("next"): 0} {
		if names, a := list(eve, query); len(names) != want {
			t.Errorf("Eve's events: got %s, want %d", a.Raw, want)
		}
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

	login := func(c *apitest.Client, email string) {
		c.Do("POST", "/auth/login", apitest.Credentials(email, apitest.Password)).Want(200)
	}

	login(ann, "ann@example.com")
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails about the device of the registration: got %d, want 0", n)
	}

	// A script that registers and logs in without keeping cookies is not reported either.
	login(s.NewClient(), "ann@example.com")
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("emails about a login right after the registration: got %d, want 0", n)
	}

	// Another browser is reported at once, and every one of them later.
	s.LoginFrom("other")
	s.Outbox.Subject(t, "ann@example.com", "New sign-in to your Latchkey account")
	s.Advance(10 * time.Minute)
	s.ResetLimits()

	stranger := s.NewClient()
	login(stranger, "ann@example.com")
	m := s.Outbox.Subject(t, "ann@example.com", "New sign-in to your Latchkey account")
	if !strings.Contains(m.Text, "127.0.0.1") {
		t.Errorf("got an email without the name of the device:\n%s", m.Text)
	}

	login(stranger, "ann@example.com")

	// Without cookies every login is from a new device, but one email a day is enough.
	login(s.NewClient(), "ann@example.com")
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
	login(stranger, "eve@example.com")
	login(stranger, "ann@example.com")
	if ann, eve := s.MailsTo("ann@example.com"), s.MailsTo("eve@example.com"); ann != 0 || eve != 1 {
		t.Errorf("emails: got %d to Ann and %d to Eve", ann, eve)
	}
}
