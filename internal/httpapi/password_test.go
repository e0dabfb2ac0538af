package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// A reset link sets a new password once, ends every session and starts none.
func TestResetPassword(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")

	s.Outbox.Token(t, "ann@example.com", "verify-email")

	stranger := s.NewClient()
	a := stranger.Do("POST", "/auth/password/forgot", map[string]any{"email": " ANN@Example.com"}).Want(202)
	unknown := stranger.Do("POST", "/auth/password/forgot", map[string]any{"email": "nobody@example.com"}).Want(202)
	if string(a.Raw) != string(unknown.Raw) {
		t.Errorf("responses differ: existing account %s, unknown account %s", a.Raw, unknown.Raw)
	}

	token := s.Outbox.Token(t, "ann@example.com", "reset-password")
	if strings.Contains(string(a.Raw), token) {
		t.Error("the response contains the token")
	}

	reset := func(token, password string) apitest.Response {
		return stranger.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": password})
	}

	// A rejected request does not use up the token.
	reset(token, "short").WantCode(400, "validation_failed")
	weak := reset(token, "ann@example.com").WantCode(400, "weak_password")
	if got := weak.JSON["errors"].([]any)[0].(map[string]any)["code"]; got != "personal" {
		t.Errorf("code of the first error: got %v, want personal", got)
	}

	for _, wrong := range []string{"x", token[:len(token)-1], token + "A", strings.ToLower(token), token[:59] + "!", strings.Repeat("A", 60)} {
		reset(wrong, apitest.NewPassword).WantCode(400, "invalid_token")
	}

	stranger.Do("POST", "/auth/email/verify", map[string]any{"token": token}).WantCode(400, "invalid_token")
	ann.Do("GET", "/auth/session", nil).Want(200)

	if a := reset(token, apitest.NewPassword).Want(200); a.Cookie != nil {
		t.Errorf("session cookie of a reset: got %s, want none", a.Cookie)
	}

	for _, c := range []*apitest.Client{ann, other} {
		if got := c.Do("GET", "/auth/session", nil).Want(401).Text("reason"); got != string(session.PasswordChanged) {
			t.Errorf("reason: got %q, want %q", got, session.PasswordChanged)
		}
	}

	reset(token, "yet another horse").WantCode(400, "invalid_token")
	wantNewPassword(s)
	if !s.Account("ann@example.com").EmailVerified {
		t.Error("email verified by the reset link: got false, want true")
	}

	s.Outbox.Subject(t, "ann@example.com", "Your Latchkey password was changed")
	if n := s.MailsTo("nobody@example.com"); n != 0 {
		t.Errorf("emails to an unknown account: got %d, want 0", n)
	}
}

// wantNewPassword fails the test unless only NewPassword signs in to ann@example.com.
func wantNewPassword(s *apitest.Server) {
	s.T.Helper()

	if s.NewClient().Login("ann@example.com", apitest.Password) {
		s.T.Error("login with the old password succeeded")
	}
	if !s.NewClient().Login("ann@example.com", apitest.NewPassword) {
		s.T.Error("login with the new password failed")
	}
}

// A password reset makes the device known until the browser is closed, and no longer: it may be
// a shared computer. What the browser already remembers stays.
func TestResetRemembersDeviceUntilClosed(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	reset := func(c *apitest.Client, email string) apitest.Response {
		c.Do("POST", "/auth/password/forgot", map[string]any{"email": email}).Want(202)
		token := s.Outbox.Token(t, email, "reset-password")

		return c.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": apitest.NewPassword}).Want(200)
	}

	ann := s.Register("ann@example.com")
	s.Register("bob@example.com")
	before := ann.Device
	reset(ann, "bob@example.com")
	if ann.Device != before {
		t.Errorf("device cookie of Ann's browser: got %s, want %s", ann.Device, before)
	}

	c := s.NewClient()
	a := reset(c, "ann@example.com")
	cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	testkit.NoError(t, err)
	if cookie.Name != "device" || cookie.MaxAge != 0 || !cookie.Expires.IsZero() {
		t.Errorf("got cookie %s, want a device cookie that ends with the browser", cookie)
	}

	s.TakeMails()
	c.Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": apitest.NewPassword, "rememberMe": false}).Want(200)
	if got := countMails(s.TakeMails(), "ann@example.com", "New sign-in to your Latchkey account"); got > 0 {
		t.Errorf("emails about a new device: got %d, want 0", got)
	}
}

// A reset link is invalidated by a newer link, expiry, a change of the password or email
// address, and the end of the account.
func TestResetLinkIsVoid(t *testing.T) {
	t.Parallel()

	for name, invalidate := range map[string]func(s *apitest.Server, ann *apitest.Client){
		"newer link": func(s *apitest.Server, _ *apitest.Client) {
			s.ResetLimits()
			s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
			s.Outbox.Token(s.T, "ann@example.com", "reset-password")
		},
		"expired": func(s *apitest.Server, _ *apitest.Client) { s.Advance(30 * time.Minute) },
		"changed password": func(_ *apitest.Server, ann *apitest.Client) {
			ann.Do("POST", "/auth/password/change", apitest.PasswordChange).Want(200)
		},
		"changed email": func(s *apitest.Server, ann *apitest.Client) {
			ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
			ann.Do("POST", "/auth/email/verify", map[string]any{"token": s.Outbox.Token(s.T, "new@example.com", "verify-email")}).Want(200)
		},
		"disabled": func(s *apitest.Server, ann *apitest.Client) {
			if _, err := s.Users.SetActive(context.Background(), ann.Do("GET", "/auth/me", nil).Text("user", "id"), false); err != nil {
				s.T.Error(err)
			}
		},
		"deleted": func(_ *apitest.Server, ann *apitest.Client) { ann.Do("DELETE", "/profile", nil).Want(204) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
			ann := s.Register("ann@example.com")
			s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
			token := s.Outbox.Token(t, "ann@example.com", "reset-password")
			invalidate(s, ann)

			const password = "a thief's password"
			s.NewClient().Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": password}).WantCode(400, "invalid_token")
			if s.NewClient().Login("ann@example.com", password) {
				t.Error("login with the rejected password succeeded")
			}
		})
	}
}

// An email address receives at most one reset link a minute, and the response does not
// reveal whether one was sent.
func TestForgotIsThrottled(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	s.Register("ann@example.com")
	s.Outbox.Token(t, "ann@example.com", "verify-email")

	var bodies []string
	for range 3 {
		a := s.NewClient().Do("POST", "/auth/password/forgot", map[string]any{"email": "Ann@example.com"}).Want(202)
		bodies = append(bodies, string(a.Raw))
	}
	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("got different responses: %q", bodies)
	}

	s.Outbox.Token(t, "ann@example.com", "reset-password")
	if n := s.MailsTo("ann@example.com"); n != 0 {
		t.Errorf("further emails: got %d, want 0", n)
	}
}

// A password change rotates the session and ends all others.
func TestChangePassword(t *testing.T) {
	t.Parallel()

	rules := auth.NewRules(true, "", slog.New(slog.DiscardHandler))
	rules.AppName = "Latchkey"
	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}, Rules: rules})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")

	change := func(c *apitest.Client, current, next string) apitest.Response {
		return c.Do("POST", "/auth/password/change", map[string]any{"currentPassword": current, "newPassword": next})
	}

	before := ann.Do("GET", "/auth/session", nil)
	wrong := change(ann, "wrong password", apitest.NewPassword).WantCode(401, "wrong_password")
	wantFieldError(t, wrong, "currentPassword", "wrong_password", "Incorrect password.")
	if wrong.Cookie != nil {
		t.Errorf("session cookie after a wrong password: got %s, want none", wrong.Cookie)
	}

	for next, code := range map[string]string{
		apitest.Password: "unchanged",
		"PassWord123":    "common",
		"ann-latchkey1":  "personal",
	} {
		a := change(ann, apitest.Password, next).WantCode(400, "weak_password")
		if first := a.JSON["errors"].([]any)[0].(map[string]any); first["code"] != code || first["field"] != "newPassword" {
			t.Errorf("new password %q: got %s, want code %s", next, a.Raw, code)
		}
	}

	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Fatal("a rejected change has changed the password")
	}

	old := ann.Clone()
	s.Advance(time.Minute)
	a := change(ann, apitest.Password, apitest.NewPassword).Want(200)
	if a.Cookie == nil || ann.Token == old.Token || a.Text("sessionId") == before.Text("sessionId") {
		t.Errorf("session token: got the old one, want a new one: %s", a.Raw)
	}

	after := ann.Do("GET", "/auth/session", nil).Want(200)
	if after.Text("createdAt") != before.Text("createdAt") || after.Text("expiresAt") != before.Text("expiresAt") || after.Text("authenticatedAt") == before.Text("authenticatedAt") {
		t.Errorf("session: got\n%s, want only a new authentication time in\n%s", after.Raw, before.Raw)
	}

	old.Do("GET", "/auth/session", nil).Want(401)
	if a := other.Do("GET", "/auth/session", nil).Want(401); a.Text("reason") != "password_changed" {
		t.Errorf("other session: got %s, want reason password_changed", a.Raw)
	}

	wantNewPassword(s)
	s.Outbox.Subject(t, "ann@example.com", "Your Latchkey password was changed")
	s.NewClient().Do("POST", "/auth/register", map[string]any{"name": "Eve", "email": "eve@example.com", "password": "password123"}).WantCode(400, "weak_password")
}

// A session that ends while its request is in progress changes nothing and ends no other
// session.
func TestChangeAfterSessionEnded(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")

	loaded, err := s.Sessions.Load(context.Background(), ann.Token)
	testkit.NoError(t, err)
	u := s.Account("ann@example.com")
	caller := auth.Caller{UserID: u.ID, SessionID: session.IDOf(ann.Token)}
	ann.Clone().Do("POST", "/auth/logout", nil).Want(200)

	requestErr := s.Auth.RequestEmailChange(loaded, caller, u, "evil@example.com")
	_, changeErr := s.Auth.ChangePassword(loaded, caller, apitest.Password, apitest.NewPassword)
	_, deleteErr := s.Auth.Delete(loaded, caller)
	for _, err := range []error{requestErr, changeErr, deleteErr} {
		if !errors.Is(err, session.ErrNone) {
			t.Errorf("got error %v, want %v", err, session.ErrNone)
		}
	}

	if dump := s.DumpMongo(); strings.Contains(dump, "evil@example.com") {
		t.Errorf("the account still contains the request: %s", dump)
	}

	other.Do("GET", "/auth/session", nil).Want(200)
	if !s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Error("login failed, want the account unchanged")
	}
}

// The server reads a slow body before it checks the session, so a session that ends in the meantime
// cannot be used.
func TestSlowBody(t *testing.T) {
	t.Parallel()

	const chunked = "0\r\n\r\n"
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/auth/email/change", `{"email":"evil@example.com"}`},
		{"PUT", "/profile", `{"name":"Eve"}`},
		{"DELETE", "/profile", `{}`},
		{"DELETE", "/profile", chunked},
		{"DELETE", "/auth/sessions", `{}`},
	} {
		t.Run(tc.method+tc.path+tc.body[:1], func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t)
			ann := s.Register("ann@example.com")
			thief := s.LoginFrom("thief")

			framing := fmt.Sprintf("Content-Length: %d", len(tc.body))
			if tc.body == chunked {
				framing = "Transfer-Encoding: chunked"
			}
			conn := sendRaw(t, s, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nCookie: %s=%s\r\nContent-Type: application/json\r\n%s\r\n\r\n%s",
				tc.method, tc.path, s.Cookie.Name, thief.Token, framing, tc.body[:1]))

			// By the time the server responds on another connection, it has most likely read these
			// headers. If not, the test passes without testing anything.
			ann.Do("GET", "/auth/session", nil).Want(200)
			ann.Do("DELETE", "/auth/sessions", nil).Want(200)
			if _, err := io.WriteString(conn, tc.body[1:]); err != nil {
				t.Fatal(err)
			}

			res := conn.readResponse(t)
			defer func() { _ = res.Body.Close() }()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("status: got %d, want 401", res.StatusCode)
			}
			if got := ann.Do("GET", "/auth/me", nil).Want(200).Text("user", "name"); got != "Ann" {
				t.Errorf("name: got %q, want Ann", got)
			}
		})
	}
}

// A login or a step-up counts as recent authentication for StepUpMaxAge.
func TestStepUp(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	stepUp := func(password string) apitest.Response {
		return ann.Do("POST", "/auth/step-up", map[string]any{"password": password})
	}

	s.Advance(apitest.StepUpMaxAge + time.Second)
	ann.Do("DELETE", "/profile", nil).WantCode(403, "step_up_required")
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).WantCode(403, "step_up_required")
	wrong := stepUp("wrong password").WantCode(401, "wrong_password")
	wantFieldError(t, wrong, "password", "wrong_password", "Incorrect password.")
	if wrong.Cookie != nil {
		t.Errorf("session cookie after a wrong password: got %s, want none", wrong.Cookie)
	}

	ann.Do("DELETE", "/profile", nil).WantCode(403, "step_up_required")
	ann.Do("POST", "/auth/rotate-session", nil).Want(200)
	ann.Do("DELETE", "/profile", nil).WantCode(403, "step_up_required")

	old := ann.Clone()
	before := ann.Do("GET", "/auth/session", nil).Want(200)
	a := stepUp(apitest.Password).Want(200)
	after := ann.Do("GET", "/auth/session", nil).Want(200)
	if ann.Token == old.Token || after.Text("authenticatedAt") != a.Text("authenticatedAt") || after.Text("authenticatedAt") == before.Text("authenticatedAt") || after.Text("expiresAt") != before.Text("expiresAt") {
		t.Errorf("session: got\n%s, want only a new authentication time in\n%s", after.Raw, before.Raw)
	}

	old.Do("GET", "/auth/session", nil).Want(401)
	s.Advance(apitest.StepUpMaxAge - time.Second)
	ann.Do("POST", "/auth/email/change", map[string]any{"email": "new@example.com"}).Want(202)
	s.Advance(2 * time.Second)
	ann.Do("DELETE", "/profile", nil).WantCode(403, "step_up_required")
	stepUp(apitest.Password).Want(200)
	ann.Do("DELETE", "/profile", nil).Want(204)
}

// A deleted account is gone, with its sessions, and its email address is free.
func TestDeleteAccount(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	ann := s.Register("ann@example.com")
	other := s.LoginFrom("other")

	a := ann.Do("DELETE", "/profile", nil).Want(204)
	if ann.Token != "" || a.Header.Get("Clear-Site-Data") == "" {
		t.Errorf("got cookie %q and headers %v, want the cookie and site data cleared", ann.Token, a.Header)
	}

	if a := other.Do("GET", "/auth/me", nil).Want(401); a.Text("reason") != string(session.AccountDeleted) {
		t.Errorf("other session: got %s, want reason account_deleted", a.Raw)
	}

	if s.NewClient().Login("ann@example.com", apitest.Password) {
		t.Error("login to a deleted account succeeded")
	}
	if n := s.LiveSessions(s.Redis.Conn(t)); n != 0 {
		t.Errorf("live sessions: got %d, want 0", n)
	}

	s.Outbox.Subject(t, "ann@example.com", "Your Latchkey account was deleted")
	s.Register("ann@example.com")
}

// The minimum length applies wherever a password is set, with the usual error, but not to existing
// passwords. The OpenAPI document contains it.
func TestMinPasswordLength(t *testing.T) {
	t.Parallel()

	const (
		minLength = 15
		short     = "fourteen chars"
		long      = "fifteen letters"
	)
	before := apitest.New(t)
	s := apitest.New(t, apitest.Options{StoresOf: before, Mail: &apitest.Outbox{}, Rules: auth.Rules{MinLength: minLength}})
	before.NewClient().Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": short}).Want(201)
	c := s.NewClient()
	c.Do("POST", "/auth/login", apitest.Credentials("ann@example.com", short)).Want(200)

	s.SkipContract = func(apitest.Response) bool { return true } // the contract has the default length

	refused := func(a apitest.Response, field, label string) {
		t.Helper()

		want := map[string]any{"field": field, "code": "too_short", "message": label + " must be at least 15 characters long."}
		a.WantCode(400, "validation_failed")
		if diff := cmp.Diff([]any{want}, a.JSON["errors"]); diff != "" {
			t.Errorf("%s: errors: (-want +got)\n%s", a.Request, diff)
		}
	}

	refused(c.Clone().Do("POST", "/auth/register", map[string]any{"name": "Eve", "email": "eve@example.com", "password": short}), "password", "Password")
	refused(c.Do("POST", "/auth/password/change", map[string]any{"currentPassword": short, "newPassword": "Fourteen chars"}), "newPassword", "New password")

	c.Do("POST", "/auth/password/forgot", map[string]any{"email": "ann@example.com"}).Want(202)
	token := s.Outbox.Token(t, "ann@example.com", "reset-password")
	refused(c.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": short}), "password", "Password")
	c.Do("POST", "/auth/password/reset", map[string]any{"token": token, "password": long}).Want(200)

	_, err := s.Auth.SetPassword(t.Context(), auth.Operator(s.Account("ann@example.com").ID), short)
	var weak *auth.WeakPasswordError
	if !errors.As(err, &weak) || weak.Error() != "must be at least 15 characters long" {
		t.Errorf("password set by an operator: got error %v, want one about 15 characters", err)
	}

	document := s.NewClient().Do("GET", "/openapi.json", nil).Want(200).JSON
	for _, name := range []string{"components", "schemas", "RegisterRequest", "properties", "password"} {
		document = document[name].(map[string]any)
	}
	if got := document["minLength"]; got != float64(minLength) {
		t.Errorf("minLength in the OpenAPI document: got %v, want %d", got, minLength)
	}
}
