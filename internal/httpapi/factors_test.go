package httpapi_test

import (
	"encoding/base32"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"latchkey/internal/apitest"
	"latchkey/internal/factor"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// enrolment is an authenticator app that a user sets up.
type enrolment struct {
	id     string
	secret []byte
}

// enrol begins to set up an authenticator app.
func enrol(c *apitest.Client) enrolment {
	c.T.Helper()

	a := c.Do("POST", "/auth/totp", nil).Want(http.StatusOK)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(a.Text("secret"))
	testkit.NoError(c.T, err)

	return enrolment{a.Text("id"), secret}
}

// code returns the code that the app shows at a time.
func (e enrolment) code(at time.Time) string { return factor.Code(e.secret, factor.Step(at)) }

// confirm sends a code for the app.
func (e enrolment) confirm(c *apitest.Client, code string) apitest.Response {
	c.T.Helper()

	return c.Do("POST", "/auth/totp/"+e.id+"/confirm", map[string]any{"code": code})
}

// A user who adds the first authenticator app gets recovery codes, and a session at the higher level under
// a new token. All other sessions and trusted devices end, and the owner is notified.
func TestAddFirstFactor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	other := s.LoginFrom("other")
	s.TakeMails()

	begun := c.Do("POST", "/auth/totp", nil).Want(http.StatusOK)
	uri := begun.Text("uri")
	if !strings.HasPrefix(uri, "otpauth://totp/Latchkey:ann%40example.com?secret="+begun.Text("secret")+"&issuer=Latchkey") {
		t.Errorf("URI: got %s", uri)
	}
	if svg := begun.Text("qrCode"); !strings.HasPrefix(svg, "<svg ") || strings.Contains(svg, "script") {
		t.Errorf("QR code: got %.100s", svg)
	}
	if left := begun.Time("expiresAt").Sub(s.Now()); left > 10*time.Minute || left < 9*time.Minute {
		t.Errorf("expiresAt: got %v from now, want 10 minutes", left)
	}
	if u := s.Account("ann@example.com"); u.HasFactor() || len(u.RecoveryCodes) > 0 {
		t.Error("the account has a factor before it is confirmed")
	}

	app := enrol(c) // replaces the first one
	code := app.code(s.Now())
	added := app.confirm(c, code).Want(http.StatusOK)
	if codes, _ := added.JSON["recoveryCodes"].([]any); len(codes) != factor.RecoveryCodes {
		t.Errorf("recovery codes: got %s", added.Raw)
	}
	a := c.Do("GET", "/auth/session", nil).Want(http.StatusOK)
	if a.Text("level") != session.AAL2 {
		t.Errorf("session: got %s, want aal2", a.Raw)
	}
	other.WantReason(session.FactorsChanged)
	if u := s.Account("ann@example.com"); other.IsKnown(u) || !c.IsKnown(u) {
		t.Error("want only the device of this session to be known")
	}
	if n := countMails(s.TakeMails(), "ann@example.com", "An authenticator app was added to your Latchkey account"); n != 1 {
		t.Errorf("emails: got %d, want 1", n)
	}

	// The code that confirmed the app is used.
	login := waiting(s, s.Account("ann@example.com").ID)
	login.Do("POST", "/auth/login/factor", map[string]any{"code": code}).WantCode(http.StatusUnauthorized, "wrong_code")
	s.Advance(factor.Period)
	login.Do("POST", "/auth/login/factor", map[string]any{"code": app.code(s.Now())}).Want(http.StatusOK)
}

// A second app comes without recovery codes. A sixth one is refused.
func TestTooManyFactors(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	for i := range user.MaxFactors {
		if app := c.Enrol(); (len(app.RecoveryCodes) > 0) != (i == 0) {
			t.Errorf("app %d: got %d recovery codes", i+1, len(app.RecoveryCodes))
		}
	}
	c.Do("POST", "/auth/totp", nil).WantCode(http.StatusConflict, "too_many_factors")

	id := s.Account("ann@example.com").ID
	code := s.BeginEnrolment(id, "sixth")
	enrolment{id: "sixth"}.confirm(c, code).WantCode(http.StatusConflict, "too_many_factors")
	if got := len(s.Account("ann@example.com").Factors); got != user.MaxFactors {
		t.Errorf("factors: got %d, want %d", got, user.MaxFactors)
	}
}

// Only the newest enrolment of the same user can be confirmed, for ten minutes.
func TestEnrolmentEnds(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	bob := s.Register("bob@example.com")

	first := enrol(c)
	second := enrol(c)
	first.confirm(c, first.code(s.Now())).WantCode(http.StatusNotFound, "not_found")
	second.confirm(bob, second.code(s.Now())).WantCode(http.StatusNotFound, "not_found")
	enrolment{id: "unknown"}.confirm(c, "123456").WantCode(http.StatusNotFound, "not_found")

	s.Advance(9 * time.Minute)
	c.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(http.StatusOK)
	second.confirm(c, second.code(s.Now())).Want(http.StatusOK)
	second.confirm(c, second.code(s.Now())).WantCode(http.StatusNotFound, "not_found")

	confirmIdentity := func() {
		bob.Do("POST", "/auth/step-up", map[string]any{"password": apitest.Password}).Want(http.StatusOK)
	}
	confirmIdentity()
	third := enrol(bob)
	s.Advance(10 * time.Minute)
	confirmIdentity()
	third.confirm(bob, third.code(s.Now())).WantCode(http.StatusNotFound, "not_found")
}

// A wrong code does not end the enrolment, and no session. If the clock of the device is wrong, the
// response explains that.
func TestWrongEnrolmentCode(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	other := s.LoginFrom("other")
	e := enrol(c)

	for _, code := range wrongCodes {
		a := e.confirm(c, code).WantCode(http.StatusBadRequest, "wrong_code")
		if got := errorFields(a); !slices.Equal(got, []string{"code wrong_code"}) {
			t.Errorf("%s: errors: got %v", code, got)
		}
	}
	for off, text := range map[time.Duration]string{
		time.Hour:         "60 min ahead",
		-90 * time.Minute: "90 min behind",
	} {
		a := e.confirm(c, e.code(s.Now().Add(off))).WantCode(http.StatusBadRequest, "wrong_code")
		serverTime := s.Now().UTC().Format("15:04:")
		if got := errorFields(a); !slices.Equal(got, []string{"code wrong_clock"}) {
			t.Errorf("clock off by %v: errors: got %v", off, got)
		}
		detail := a.Text("detail")
		isNamed := strings.Contains(detail, serverTime) || strings.Contains(detail, s.Now().UTC().Add(-time.Minute).Format("15:04:"))
		if !strings.Contains(detail, text) || !isNamed || !strings.Contains(detail, " UTC ") || !strings.HasSuffix(a.Text("serverTime"), "Z") {
			t.Errorf("clock off by %v: got %q and serverTime %s", off, detail, a.Text("serverTime"))
		}
	}
	e.confirm(c, e.code(s.Now().Add(13*time.Hour))).WantCode(http.StatusBadRequest, "wrong_code")

	other.Do("GET", "/auth/session", nil).Want(http.StatusOK)
	c.Do("POST", "/auth/totp/"+e.id+"/confirm", map[string]any{"code": e.code(s.Now()), "name": "a\u0007b"}).WantCode(http.StatusBadRequest, "validation_failed")
	a := e.confirm(c, e.code(s.Now())).Want(http.StatusOK)
	if got := a.Text("factor", "name"); got != "Authenticator app" {
		t.Errorf("name: got %q, want the default", got)
	}
}

// Factors can be renamed by their owner. Names have no control characters.
func TestRenameFactor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	bob := s.Register("bob@example.com")
	path := "/auth/factors/" + c.Enrol().ID

	for _, name := range []string{"", "  ", "a\nb", "a\u0000b", "a\u202eb", strings.Repeat("x", 1000)} {
		a := c.Do("PUT", path, map[string]any{"name": name}).WantCode(http.StatusBadRequest, "validation_failed")
		if got := errorFields(a); len(got) != 1 || !strings.HasPrefix(got[0], "name ") {
			t.Errorf("name %q: errors: got %v", name, got)
		}
	}
	bob.Do("PUT", path, map[string]any{"name": "Bob's"}).WantCode(http.StatusNotFound, "not_found")
	for _, id := range []string{"unknown", "$set", "a.b", "kind"} {
		c.Do("PUT", "/auth/factors/"+id, map[string]any{"name": "x"}).WantCode(http.StatusNotFound, "not_found")
		c.Do("DELETE", "/auth/factors/"+id, nil).WantCode(http.StatusNotFound, "not_found")
	}

	a := c.Do("PUT", path, map[string]any{"name": " Old phone "}).Want(http.StatusOK)
	listed := c.Do("GET", "/auth/factors", nil).Want(http.StatusOK)
	shown := listed.JSON["factors"].([]any)[0].(map[string]any)
	if a.Text("factor", "name") != "Old phone" || shown["name"] != "Old phone" || shown["type"] != "totp" || listed.JSON["recoveryCodes"] != 10.0 {
		t.Errorf("got %s and %s", a.Raw, listed.Raw)
	}
	if strings.Contains(string(listed.Raw), "seed") || strings.Contains(string(listed.Raw), "v1.") {
		t.Errorf("the list contains the seed: %s", listed.Raw)
	}
}

// Without one of two apps the account still needs a factor. Without the last one it has no recovery codes
// and no trusted devices, and a session has one factor.
func TestRemoveFactor(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	first := c.Enrol()
	second := c.Enrol()
	device := waiting(s, s.Account("ann@example.com").ID)
	device.Do("POST", "/auth/login/factor", map[string]any{"code": second.NextCode(), "trustDevice": true}).Want(http.StatusOK)
	s.TakeMails()

	remove := func(app apitest.App) {
		before := c.Token
		c.Do("DELETE", "/auth/factors/"+app.ID, nil).Want(http.StatusNoContent)
		if c.Token == before {
			t.Error("the session kept its token")
		}
		if n := countMails(s.TakeMails(), "ann@example.com", "An authenticator app was removed from your Latchkey account"); n != 1 {
			t.Errorf("emails: got %d, want 1", n)
		}
	}

	remove(first)
	device.WantReason(session.FactorsChanged)
	u := s.Account("ann@example.com")
	if len(u.Factors) != 1 || len(u.RecoveryCodes) != factor.RecoveryCodes || len(u.ListTrusted(s.Now())) > 0 {
		t.Errorf("after the first: got %d factors, %d recovery codes, %d trusted devices", len(u.Factors), len(u.RecoveryCodes), len(u.ListTrusted(s.Now())))
	}
	if got := c.Do("GET", "/auth/session", nil).Want(http.StatusOK).Text("level"); got != session.AAL2 {
		t.Errorf("level: got %s, want aal2", got)
	}
	c.Do("DELETE", "/auth/factors/"+first.ID, nil).WantCode(http.StatusNotFound, "not_found")

	remove(second)
	u = s.Account("ann@example.com")
	if len(u.Factors)+len(u.RecoveryCodes)+len(u.Trusted) != 0 {
		t.Errorf("after the last one: got %+v", u.SecondFactors)
	}
	if got := c.Do("GET", "/auth/session", nil).Want(http.StatusOK).Text("level"); got != session.AAL1 {
		t.Errorf("level: got %s, want aal1", got)
	}
	c.Do("POST", "/auth/recovery-codes", nil).WantCode(http.StatusConflict, "no_factor")
	c.Do("POST", "/auth/step-up", map[string]any{"code": second.NextCode()}).WantCode(http.StatusConflict, "no_factor")
	s.NewClient().Do("POST", "/auth/login", apitest.AnnsLogin).Want(http.StatusOK)
}

// New recovery codes replace the old ones, and the owner is notified.
func TestNewRecoveryCodes(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{Mail: &apitest.Outbox{}})
	c := s.Register("ann@example.com")
	old := c.Enrol().RecoveryCodes
	var codes []string
	for _, code := range c.Do("POST", "/auth/recovery-codes", nil).Want(http.StatusOK).JSON["recoveryCodes"].([]any) {
		codes = append(codes, code.(string))
	}
	all := append(slices.Clone(old), codes...)
	slices.Sort(all)
	if len(codes) != factor.RecoveryCodes || len(slices.Compact(all)) != 2*factor.RecoveryCodes {
		t.Errorf("got %v", codes)
	}

	id := s.Account("ann@example.com").ID
	waiting(s, id).Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": old[0]}).WantCode(http.StatusUnauthorized, "wrong_code")
	waiting(s, id).Do("POST", "/auth/login/factor", map[string]any{"recoveryCode": codes[0]}).Want(http.StatusOK)
	told := slices.ContainsFunc(s.TakeEvents(), func(e bson.M) bool { return e["name"] == "recovery_codes_created" })
	if !told {
		t.Error("got no event recovery_codes_created")
	}
}

// Of two requests at the same time that remove a factor, or confirm one, one succeeds, and the other gets
// the response that it would get later.
func TestFactorRequestsAtOnce(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	for range 5 {
		c := s.Register("ann@example.com")
		e := enrol(c)
		code := e.code(s.Now())
		wantOne(t, "confirm", c, http.StatusOK, func(c *apitest.Client) apitest.Response { return e.confirm(c, code) })

		owner := s.SignInWith(s.Account("ann@example.com").ID, session.Method{Method: session.Password}, session.Method{Method: session.OTP})
		path := "/auth/factors/" + s.Account("ann@example.com").ListFactors()[0].ID
		wantOne(t, "remove", owner, http.StatusNoContent, func(c *apitest.Client) apitest.Response { return c.Do("DELETE", path, nil) })
		s.DeleteAccount(s.Account("ann@example.com").ID)
	}
}

// wantOne sends a request twice at the same time and checks that one succeeds. The other finds nothing to
// change, a session with a new token, or an account that now has a factor.
func wantOne(t *testing.T, what string, c *apitest.Client, success int, send func(*apitest.Client) apitest.Response) {
	t.Helper()

	var statuses []int
	for _, a := range testkit.Concurrently(2, func(int) apitest.Response { return send(c.Clone()) }) {
		statuses = append(statuses, a.Status)
	}
	slices.Sort(statuses)

	others := []int{http.StatusNotFound, http.StatusUnauthorized, http.StatusForbidden}
	if statuses[0] != success || !slices.Contains(others, statuses[1]) {
		t.Errorf("%s: got %v, want one %d and one of %v", what, statuses, success, others)
	}
}
