package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/apitest"
	"latchkey/internal/auth"
	"latchkey/internal/factor"
	"latchkey/internal/httpapi"
	"latchkey/internal/pending"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// errorFields returns the field and the code of each error in a response, as "field code".
func errorFields(a apitest.Response) (fields []string) {
	listed, _ := a.JSON["errors"].([]any)
	for _, e := range listed {
		e := e.(map[string]any)
		fields = append(fields, fmt.Sprintf("%s %s", e["field"], e["code"]))
	}

	return fields
}

// A login to an account with a second factor tells the page which ones it accepts, and neither who the user
// is nor a session. Afterwards the login with the code is like any other.
func TestLoginWithFactor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	c := s.SignIn() // of another account
	previous := c.Token

	a := c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
	want := map[string]any{
		"message":        "Second factor required",
		"factorRequired": true,
		"factors":        []any{"totp", "recovery_code"},
	}
	if diff := cmp.Diff(want, a.JSON); diff != "" || a.Cookie != nil {
		t.Errorf("login: session cookie %v, body (-want +got):\n%s", a.Cookie, diff)
	}
	s.WithToken(previous).Do("GET", "/auth/session", nil).Want(http.StatusOK) // not replaced yet

	a = c.Do("GET", "/auth/login/factor", nil).Want(http.StatusOK)
	left := a.Time("expiresAt").Sub(s.Now())
	if diff := cmp.Diff([]any{"totp", "recovery_code"}, a.JSON["factors"]); diff != "" || left > pending.MaxAge || left < pending.MaxAge-time.Minute {
		t.Errorf("waiting login: %v left, factors (-want +got):\n%s", left, diff)
	}
	if head := c.Do("HEAD", "/auth/login/factor", nil).Want(http.StatusOK); len(head.Raw) != 0 {
		t.Errorf("HEAD: got body %s", head.Raw)
	}

	a = c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code()}).Want(http.StatusOK)
	if a.Text("message") != "Login successful" || a.Text("user", "id") != u.ID {
		t.Errorf("login with the code: got %s", a.Raw)
	}
	if len(c.Factors) > 0 {
		t.Errorf("cookies after the login: got %v, want that of the waiting login cleared", c.Factors)
	}
	a = c.Do("GET", "/auth/session", nil).Want(http.StatusOK)
	if a.Text("level") != session.AAL2 || a.Text("userId") != u.ID {
		t.Errorf("session: got %s", a.Raw)
	}
	s.WithToken(previous).Do("GET", "/auth/session", nil).WantCode(http.StatusUnauthorized, "not_authenticated")

	var events []string
	for _, e := range s.TakeEvents() {
		events = append(events, fmt.Sprintf("%v %v %v", e["name"], e["authLevel"], e["authMethods"]))
	}
	if want := []string{"second_factor_requested <nil> pwd", "login aal2 pwd,otp"}; !slices.Equal(events, want) {
		t.Errorf("events: got %v, want %v", events, want)
	}
}

// factorBodies are bodies of a login with a second factor that are refused.
var factorBodies = map[string]struct {
	body   string
	status int
	code   string
	fields []string
}{
	"empty":               {`{}`, 400, "validation_failed", []string{"code required"}},
	"empty code":          {`{"code":""}`, 400, "validation_failed", []string{"code required"}},
	"both":                {`{"code":"123456","recoveryCode":"x"}`, 400, "validation_failed", []string{"code invalid"}},
	"unknown member":      {`{"code":"123456","x":1}`, 400, "validation_failed", []string{"x unknown"}},
	"a number":            {`{"code":123456}`, 400, "validation_failed", []string{"code wrong_type"}},
	"trustDevice as text": {`{"code":"123456","trustDevice":"yes"}`, 400, "validation_failed", []string{"trustDevice wrong_type"}},
	"65 characters":       {`{"code":"` + strings.Repeat("1", 65) + `"}`, 400, "validation_failed", []string{"code too_long"}},
	"long recovery code":  {`{"recoveryCode":"` + strings.Repeat("1", 65) + `"}`, 400, "validation_failed", []string{"recoveryCode too_long"}},
	"cut off":             {`{"code":"1`, 400, "invalid_json", []string{" invalid_json"}},
	"1 MB":                {`{"code":"` + strings.Repeat("1", 1<<20) + `"}`, 413, "body_too_large", nil},
}

// A malformed body is refused before it counts as an attempt.
func TestMalformedCodes(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	c := waiting(s, u.ID)
	signedIn := s.SignInWith(u.ID, session.Method{Method: session.Password})

	for name, tc := range factorBodies {
		a := c.Send("POST", "/auth/login/factor", jsonType, []byte(tc.body)).WantCode(tc.status, tc.code)
		if got := errorFields(a); !slices.Equal(got, tc.fields) {
			t.Errorf("%s: errors: got %v, want %v", name, got, tc.fields)
		}
		if name != "empty" && name != "empty code" && !strings.Contains(name, "trustDevice") {
			signedIn.Send("POST", "/auth/step-up", jsonType, []byte(tc.body)).WantCode(tc.status, tc.code)
		}
	}
	signedIn.Send("POST", "/auth/step-up", jsonType, []byte(`{}`)).WantCode(400, "validation_failed")

	if got := s.Account("ann@example.com").Factors[app.ID].Failures; got != 0 {
		t.Errorf("failures: got %d, want 0", got)
	}
	code := app.Code()
	c.Do("POST", "/auth/login/factor", map[string]any{"code": " " + code[:3] + " " + code[3:]}).Want(http.StatusOK)
}

// wrongCodes are entered by users who mistype a code.
var wrongCodes = []string{"1234567", "12345", "abcdef", "12345a", "-12345", "１２３４５６", "0x1234"}

// What is no code is a wrong one: it counts, and the fifth ends the login. The response names the field and
// the time of the server.
func TestWrongCodes(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	check := func(a apitest.Response, wantField string) {
		t.Helper()

		a.WantCode(http.StatusUnauthorized, "wrong_code")
		if got := errorFields(a); !slices.Equal(got, []string{wantField + " wrong_code"}) {
			t.Errorf("errors: got %v, want %s", got, wantField)
		}
		if hasTime := a.JSON["serverTime"] != nil; hasTime != (wantField == "code") {
			t.Errorf("serverTime: got %v", a.JSON["serverTime"])
		}
	}

	for _, code := range append(wrongCodes, app.WrongCode()) {
		a := waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"code": code})
		check(a, "code")
		if text := a.Text("serverTime"); !strings.HasSuffix(text, "Z") || s.Now().Sub(a.Time("serverTime")).Abs() > 10*time.Second {
			t.Errorf("serverTime: got %s, want the time in UTC", text)
		}
	}
	for _, code := range []string{"x", strings.Repeat("0", 25), app.RecoveryCodes[0][:28], app.RecoveryCodes[0] + "0"} {
		check(waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": code}), "recoveryCode")
	}
	if got, want := s.Account("ann@example.com").Factors[app.ID].Failures, len(wrongCodes)+1; got != want {
		t.Errorf("failures of the app: got %d, want %d", got, want)
	}

	// All kinds of codes count for the login.
	c := waiting(s, u.ID)
	for i := range pending.MaxAttempts {
		field := []string{"code", "recoveryCode"}[i%2]
		check(c.Do("POST", "/auth/login/factor", map[string]any{field: "x"}), field)
	}
	c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code()}).WantCode(http.StatusUnauthorized, "no_pending_login")
	c.Do("GET", "/auth/login/factor", nil).WantCode(http.StatusUnauthorized, "no_pending_login")
}

// Codes are accepted for the step before and after, and only once.
func TestCodeSkew(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	enter := func(code string) apitest.Response {
		return waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"code": code})
	}

	s.StartPeriod()
	old := app.Code()
	s.Advance(factor.Period)
	enter(old).Want(http.StatusOK)
	enter(old).WantCode(http.StatusUnauthorized, "wrong_code")
	code := app.Code()
	enter(code).Want(http.StatusOK)
	enter(old).WantCode(http.StatusUnauthorized, "wrong_code")
	enter(code).WantCode(http.StatusUnauthorized, "wrong_code")

	old = app.NextCode()
	s.Advance(61 * time.Second)
	enter(old).WantCode(http.StatusUnauthorized, "wrong_code")
}

// Recovery codes are accepted however they are typed. The owner is told how many are left.
func TestRecoveryCodeSpellings(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	u := s.CreateUser("ann@example.com")
	codes := s.AddFactor(u.ID).RecoveryCodes
	spellings := []func(string) string{
		strings.ToLower,
		func(code string) string { return strings.ReplaceAll(code, "-", "") },
		func(code string) string { return " " + strings.ReplaceAll(code, "-", " ") + " " },
		func(code string) string { return strings.NewReplacer("0", "o", "1", "l").Replace(code) },
	}
	for i, spell := range spellings {
		waiting(s, u.ID).Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": spell(codes[i])}).Want(http.StatusOK)
		if got, want := len(s.Account("ann@example.com").RecoveryCodes), len(codes)-1-i; got != want {
			t.Errorf("recovery codes: got %d, want %d", got, want)
		}
	}

	told := 0
	for _, m := range s.TakeMails() {
		if strings.Contains(m.Text, "recovery code") {
			told++
		}
	}
	if told != len(spellings) {
		t.Errorf("emails about recovery codes: got %d, want %d", told, len(spellings))
	}
}

// A login that waits ends after five minutes, or if the user cancels it or logs out.
func TestPendingLoginEnds(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	operator := auth.Operator(u.ID)
	setActive := func(active bool) {
		_, err := s.Users.SetActive(t.Context(), u.ID, active)
		testkit.NoError(t, err)
	}
	for name, tc := range map[string]struct {
		end     func(c *apitest.Client)
		isAlive bool
	}{
		"the sessions ended": {func(*apitest.Client) {
			_, err := s.Sessions.RevokeAll(t.Context(), u.ID, "", session.Revoked)
			testkit.NoError(t, err)
		}, false},
		// These end it even if the sessions have not ended, yet.
		"the devices were revoked": {func(*apitest.Client) {
			_, err := s.Users.RevokeDevices(t.Context(), u.ID)
			testkit.NoError(t, err)
		}, false},
		"the account was disabled and enabled": {func(*apitest.Client) {
			setActive(false)
			setActive(true)
		}, false},
		"the email changed": {func(*apitest.Client) { setField(t, s, u.ID, "email", "ann@example.org") }, false},
		"the password was changed": {func(*apitest.Client) {
			setField(t, s, u.ID, "email", "ann@example.com")
			_, err := s.Auth.SetPassword(t.Context(), operator, apitest.NewPassword)
			testkit.NoError(t, err)
		}, false},
		"before it expires": {func(*apitest.Client) { s.Advance(pending.MaxAge - factor.Period - time.Minute) }, true},
		"expired":           {func(*apitest.Client) { s.Advance(pending.MaxAge) }, false},
		"cancelled":         {func(c *apitest.Client) { c.Do("DELETE", "/auth/login/factor", nil).Want(http.StatusNoContent) }, false},
		"logged out":        {func(c *apitest.Client) { c.Do("POST", "/auth/logout", nil).Want(http.StatusOK) }, false},
	} {
		c := waiting(s, u.ID)
		first := c.Clone()
		tc.end(c)
		if isCleared := name == "cancelled" || name == "logged out"; isCleared && len(c.Factors) > 0 {
			t.Errorf("%s: cookies: got %v, want none", name, c.Factors)
		}
		if tc.isAlive {
			first.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode()}).Want(http.StatusOK)
			continue
		}

		a := first.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode()}).WantCode(http.StatusUnauthorized, "no_pending_login")
		if a.Text("detail") != "Your login has expired. Log in again." || len(first.Factors) > 0 {
			t.Errorf("%s: got %q and cookies %v", name, a.Text("detail"), first.Factors)
		}
	}

	// Without a login, cancelling succeeds and logging out does not.
	s.NewClient().Do("DELETE", "/auth/login/factor", nil).Want(http.StatusNoContent)
	s.NewClient().Do("POST", "/auth/logout", nil).WantCode(http.StatusUnauthorized, "not_authenticated")
}

// A login without "remember me" ends with the browser, although its second factor is proved later.
func TestRememberMeWithFactor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	app := s.AddFactor(s.CreateUser("ann@example.com").ID)
	for _, remember := range []bool{true, false} {
		c := s.NewClient()
		body := map[string]any{"email": "ann@example.com", "password": apitest.Password, "rememberMe": remember}
		c.Do("POST", "/auth/login", body).Want(http.StatusOK)
		a := c.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode()}).Want(http.StatusOK)
		if a.Cookie.MaxAge > 0 != remember {
			t.Errorf("rememberMe %v: got Max-Age %d", remember, a.Cookie.MaxAge)
		}
	}
}

// setCookie returns the attributes of a cookie that a response sets, without the value.
func setCookie(a apitest.Response, prefix string) string {
	for _, line := range a.Header.Values("Set-Cookie") {
		name, rest, _ := strings.Cut(line, "=")
		if _, attributes, _ := strings.Cut(rest, "; "); strings.HasPrefix(name, prefix) {
			return attributes
		}
	}

	return ""
}

// Scripts cannot read the cookies of second factors. They last as long as what they stand for, and other
// hosts cannot plant them where the server is reached over HTTPS.
func TestFactorCookies(t *testing.T) {
	t.Parallel()

	for name, tc := range map[string]struct {
		cookie httpapi.Cookie
		prefix string
		want   string
	}{
		"plain":  {httpapi.Cookie{Name: "sid", SameSite: http.SameSiteLaxMode}, "", "HttpOnly; SameSite=Lax"},
		"secure": {httpapi.Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteLaxMode}, "__Host-", "HttpOnly; Secure; SameSite=Lax"},
		"strict": {httpapi.Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode}, "__Host-", "HttpOnly; Secure; SameSite=Lax"},
		"domain": {httpapi.Cookie{Name: "sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteLaxMode}, "__Host-", "HttpOnly; Secure; SameSite=Lax"},
		"none":   {httpapi.Cookie{Name: "sid", Secure: true, SameSite: http.SameSiteNoneMode}, "__Host-", "HttpOnly; Secure; SameSite=None"},
	} {
		s := apitest.New(t, apitest.Options{Cookie: tc.cookie})
		app := s.AddFactor(s.CreateUser("ann@example.com").ID)
		c := s.NewClient()
		a := c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
		if got, want := setCookie(a, tc.prefix+"mfa"), "Path=/; Max-Age=300; "+tc.want; got != want {
			t.Errorf("%s: cookie of the login: got %q, want %q", name, got, want)
		}

		a = c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code(), "trustDevice": true}).Want(http.StatusOK)
		if got, want := setCookie(a, tc.prefix+"trust-"), fmt.Sprintf("Path=/; Max-Age=%d; %s", 30*24*60*60, tc.want); got != want {
			t.Errorf("%s: cookie of the device: got %q, want %q", name, got, want)
		}
		if got := setCookie(a, tc.prefix+"mfa"); !strings.HasPrefix(got, "Path=/; Max-Age=0; ") {
			t.Errorf("%s: cookie of the login after it: got %q, want it cleared", name, got)
		}
	}
}

// The cookies of the waiting login and of trusted devices are not taken if there are two of them, since one
// may be planted.
func TestPlantedPendingLogin(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	s.AddFactor(u.ID)
	one := s.BeginPending(u.ID)
	other := s.BeginPending(u.ID)
	header := http.Header{"Cookie": {"mfa=" + one + "; mfa=" + other}}
	s.NewClient().Send("GET", "/auth/login/factor", header, nil).WantCode(http.StatusUnauthorized, "no_pending_login")
}

// A user sees and ends the devices that are trusted, and only their own.
func TestTrustedDevices(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	c := waiting(s, u.ID)
	c.Do("POST", "/auth/login/factor", map[string]any{"code": app.Code(), "trustDevice": true}).Want(http.StatusOK)
	second := waiting(s, u.ID)
	second.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode(), "trustDevice": true}).Want(http.StatusOK)

	devices := c.Do("GET", "/auth/devices", nil).Want(http.StatusOK).JSON["devices"].([]any)
	if len(devices) != 2 {
		t.Fatalf("devices: got %v, want 2", devices)
	}
	newest, oldest := devices[0].(map[string]any), devices[1].(map[string]any)
	if newest["current"] != false || oldest["current"] != true {
		t.Errorf("current: got %v and %v, want the older one", newest["current"], oldest["current"])
	}
	path := "/auth/devices/" + oldest["id"].(string)

	bob := s.SignInWith(s.CreateUser("bob@example.com").ID, session.Method{Method: session.Password})
	bob.Do("DELETE", path, nil).WantCode(http.StatusNotFound, "not_found")
	c.Do("DELETE", "/auth/devices/unknown", nil).WantCode(http.StatusNotFound, "not_found")
	c.Do("DELETE", "/auth/devices/a.b$c", nil).WantCode(http.StatusNotFound, "not_found")
	c.Do("DELETE", path, nil).Want(http.StatusNoContent)
	c.Do("DELETE", path, nil).WantCode(http.StatusNotFound, "not_found")

	isTrusted := func(browser *apitest.Client) bool {
		return browser.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK).JSON["factorRequired"] == nil
	}
	if isTrusted(c) || !isTrusted(second) {
		t.Error("want only the second device to be trusted")
	}
}

// An account has at most user.MaxTrustedDevices trusted devices: the oldest ones are dropped.
func TestTooManyTrustedDevices(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	var browsers []*apitest.Client
	for range user.MaxTrustedDevices + 2 {
		c := waiting(s, u.ID)
		c.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode(), "trustDevice": true}).Want(http.StatusOK)
		browsers = append(browsers, c)
	}
	if got := len(s.Account("ann@example.com").Trusted); got != user.MaxTrustedDevices {
		t.Errorf("trusted devices: got %d, want %d", got, user.MaxTrustedDevices)
	}
	for i, c := range browsers {
		a := c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
		if isAsked := a.JSON["factorRequired"] == true; isAsked != (i < 2) {
			t.Errorf("browser %d: second factor required: got %v", i, isAsked)
		}
	}
}

// A user who cancels or logs out while the login is being completed is signed out, although the browser has
// only the cookie of the waiting login.
func TestCancelAfterCompletion(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	u := s.CreateUser("ann@example.com")
	app := s.AddFactor(u.ID)
	for _, end := range []string{"DELETE /auth/login/factor", "POST /auth/logout"} {
		c := waiting(s, u.ID)
		late := c.Clone()
		c.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode()}).Want(http.StatusOK)
		method, path, _ := strings.Cut(end, " ")
		if a := late.Do(method, path, nil); a.Status >= http.StatusBadRequest {
			t.Errorf("%s: got %s", end, a.Raw)
		}
		c.WantReason(session.LoggedOut)
	}
}
