package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
)

// The session walkthrough of the guide, with the requests of its commands.
func TestGuide(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.NewClient()
	john := map[string]any{"name": "John Doe", "email": "john@example.com", "password": "password123"}

	registered := c.Do("POST", "/auth/register", john).Want(201)
	if got := registered.Text("message"); got != "Registration successful" {
		t.Errorf("register: got message %q", got)
	}

	taken := s.NewClient()
	if a := taken.Do("POST", "/auth/register", john).WantCode(409, "email_taken"); a.Text("message") != "Email already registered" || taken.Token != "" {
		t.Errorf("register again: got %s and cookie %q", a.Raw, taken.Token)
	} else {
		wantFieldError(t, a, "email", "email_taken", "This email is already registered.")
	}

	loggedIn := c.Do("POST", "/auth/login", map[string]any{"email": "john@example.com", "password": "password123"}).Want(200)
	if got := loggedIn.Text("message"); got != "Login successful" {
		t.Errorf("login: got message %q", got)
	}

	if loggedIn.Text("user", "lastLogin") == "" {
		t.Error("lastLogin is missing")
	}

	me := c.Do("GET", "/auth/me", nil).Want(200)
	if me.Text("user", "email") != "john@example.com" || me.Text("user", "id") != registered.Text("user", "id") {
		t.Errorf("account: got %s", me.Raw)
	}

	old := c.Clone()
	out := c.Do("POST", "/auth/logout", nil).Want(200)
	if got := out.Text("message"); got != "Logout successful" {
		t.Errorf("logout: got message %q", got)
	}

	if c.Token != "" || out.Header.Get("Clear-Site-Data") != `"storage"` {
		t.Errorf("after the logout: got cookie %q, want cookie and site data cleared", c.Token)
	}

	old.Do("GET", "/auth/me", nil).WantCode(401, "not_authenticated")
	if old.Token != "" {
		t.Error("the cookie of an ended session was not cleared")
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()

	for _, tc := range []struct {
		name   string
		cookie httpapi.Cookie
		want   string
	}{
		{"development", httpapi.Cookie{Name: "sid", SameSite: http.SameSiteLaxMode}, "; Path=/; Max-Age=14400; HttpOnly; SameSite=Lax"},
		{"production", httpapi.Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode}, "; Path=/; Max-Age=14400; HttpOnly; Secure; SameSite=Strict"},
		{"subdomains", httpapi.Cookie{Name: "sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode}, "; Path=/; Domain=example.com; Max-Age=14400; HttpOnly; Secure; SameSite=None"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t, apitest.Options{Cookie: tc.cookie})
			c := s.NewClient()
			a := c.Do("POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": apitest.Password}).Want(201)
			set := slices.DeleteFunc(a.Header.Values("Set-Cookie"), func(line string) bool {
				return !strings.HasPrefix(line, tc.cookie.Name+"=") || strings.HasPrefix(line, tc.cookie.Name+"=;")
			})
			if want := []string{tc.cookie.Name + "=" + c.Token + tc.want}; !slices.Equal(set, want) {
				t.Errorf("Set-Cookie: got %q, want %q", set, want)
			}

			if hsts := a.Header.Get("Strict-Transport-Security"); (hsts != "") != tc.cookie.Secure {
				t.Errorf("Strict-Transport-Security: got %q", hsts)
			}

			c.Do("GET", "/auth/session", nil).Want(200)
		})
	}
}

// The token is in no body and not in Redis, which has its hash. Deleting that key, as the
// guide does, ends the session.
func TestTokenStaysInTheCookie(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	conn := s.Redis.Conn(t)
	c := s.Register("ann@example.com")
	session := c.Do("GET", "/auth/session", nil).Want(200)
	rotated := c.Clone().Do("POST", "/auth/rotate-session", nil).Want(200)
	for _, a := range []apitest.Response{session, rotated} {
		if strings.Contains(string(a.Raw), c.Token) {
			t.Errorf("%s: the response contains the token", a.Request)
		}
	}

	key := s.RecordKey(rotated.Text("sessionId"))
	value, err := conn.Do("GET", key)
	if err != nil || value == nil {
		t.Fatalf("GET %s: %v %v", key, value, err)
	}

	if !strings.HasPrefix(string(value.([]byte)), "user="+session.Text("userId")+"\nemail=ann@example.com\n") {
		t.Errorf("record: got %s, want readable text", value)
	}

	c = s.WithToken(rotated.Cookie.Value)
	c.Clone().Do("GET", "/auth/session", nil).Want(200)

	for _, part := range []string{rotated.Cookie.Value, key} {
		if n, err := conn.Do("EXISTS", part); err != nil || (n == int64(1)) != (part == key) {
			t.Errorf("EXISTS %s: %v %v", part, n, err)
		}
	}

	if _, err := conn.Do("DEL", key); err != nil {
		t.Fatal(err)
	}

	c.Do("GET", "/auth/session", nil).WantCode(401, "not_authenticated")
}

// All failed logins get the same response, byte for byte except for the request ID.
func TestLoginRefused(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	s.Register("ann@example.com")
	s.Register("off@example.com")
	_, err := s.Users.SetActive(t.Context(), s.Account("off@example.com").ID, false)
	testkit.NoError(t, err)
	var bodies []string
	for _, in := range []map[string]any{
		apitest.Credentials("nobody@example.com", apitest.Password),
		apitest.Credentials("ann@example.com", apitest.Password+"x"),
		apitest.Credentials("ann@example.com", strings.ToUpper(apitest.Password)),
		apitest.Credentials("ann@example.com", " "+apitest.Password),
		apitest.Credentials("off@example.com", apitest.Password),
	} {
		c := s.NewClient()
		a := c.Do("POST", "/auth/login", in).WantCode(401, "invalid_credentials")
		if c.Token != "" {
			t.Errorf("%v: got a cookie, want none", in)
		}

		bodies = append(bodies, strings.ReplaceAll(string(a.Raw), a.Text("requestId"), ""))
	}

	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("got different responses: %q", bodies)
	}
}

// A successful login ends the previous session, a failed one does not. The new token does not
// depend on the cookie that was sent, which an attacker may have planted.
func TestLoginOverSession(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	before := c.Clone()

	c.Do("POST", "/auth/login", wrongPassword("ann@example.com")).Want(401)
	before.Clone().Do("GET", "/auth/me", nil).Want(200)
	c.Do("POST", "/auth/register", map[string]any{"name": "A", "email": "ann@example.com", "password": apitest.Password}).Want(409)
	before.Clone().Do("GET", "/auth/me", nil).Want(200)

	c.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	if c.Token == before.Token {
		t.Fatal("the login kept the token, want a new one")
	}

	// A late response to the old token does not change the new cookie.
	if a := before.Do("GET", "/auth/me", nil).Want(401); a.Cookie != nil {
		t.Errorf("late response: got cookie %s, want none", a.Cookie)
	}

	// It cannot log out either, for it would end nothing and take the new cookie.
	if a := before.Do("POST", "/auth/logout", nil).WantCode(401, "not_authenticated"); a.Cookie != nil || a.Header.Get("Clear-Site-Data") != "" {
		t.Errorf("logout with the old token: got cookie %v and headers %v, want nothing cleared", a.Cookie, a.Header)
	}
	c.Do("GET", "/auth/me", nil).Want(200)
	if live := s.LiveSessions(s.Redis.Conn(t)); live != 1 {
		t.Errorf("sessions: got %d, want 1", live)
	}

	planted := s.WithToken(strings.Repeat("A", 43))
	attacker := planted.Clone()
	planted.Do("POST", "/auth/login", apitest.AnnsLogin).Want(200)
	attacker.Do("GET", "/auth/session", nil).Want(401)
}

// A document without a usable password cannot log in, and the response does not reveal that
// it exists.
func TestUnreadableAccount(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	_, err := s.Database().Collection("users").InsertOne(context.Background(), bson.D{
		{Key: "name", Value: "X"}, {Key: "email", Value: "x@example.com"}, {Key: "password", Value: "h"}, {Key: "isActive", Value: "yes"},
	})

	testkit.NoError(t, err)
	s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "x@example.com", "password": "password"}).WantCode(401, "invalid_credentials")
	if !strings.Contains(s.Log.String(), "account is unreadable and cannot log in") {
		t.Error("the log does not report the unreadable account")
	}
}

func TestRememberMe(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	const lifetime = int(apitest.AbsoluteTimeout / time.Second)
	for remember, maxAge := range map[any]int{nil: lifetime, true: lifetime, false: 0} {
		in := map[string]any{"email": "ann@example.com", "password": apitest.Password, "rememberMe": remember}
		if got := c.Do("POST", "/auth/login", in).Want(200).Cookie.MaxAge; got != maxAge {
			t.Errorf("rememberMe %v: Max-Age: got %d, want %d", remember, got, maxAge)
		}

		// A rotation keeps the lifetime of the cookie and of the session.
		if got := c.Do("POST", "/auth/rotate-session", nil).Want(200).Cookie.MaxAge; got > maxAge || got < maxAge-60 {
			t.Errorf("rememberMe %v: Max-Age after a rotation: got %d, want %d", remember, got, maxAge)
		}
	}
}

// A database filled by the application of the guide works unchanged: bcrypt of the plain
// password, mongoose's version key, no emailVerified.
func TestGuideDatabase(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	users := s.Database().Collection("users")
	plain, err := bcrypt.GenerateFromPassword([]byte("password123"), 4)
	testkit.NoError(t, err)
	stored := strings.Replace(string(plain), "$2a$", "$2b$", 1)
	now := time.Now()
	_, err = users.InsertOne(context.Background(), bson.D{
		{Key: "name", Value: "John Doe"}, {Key: "email", Value: "john@example.com"}, {Key: "password", Value: stored},
		{Key: "isActive", Value: true}, {Key: "createdAt", Value: now}, {Key: "updatedAt", Value: now}, {Key: "__v", Value: 0},
	})

	testkit.NoError(t, err)
	c := s.NewClient()
	login := map[string]any{"email": "John@Example.com", "password": "password123"}
	c.Do("POST", "/auth/login", login).Want(200)

	var doc struct {
		Password string `bson:"password"`
		V        *int   `bson:"__v"`
	}

	testkit.NoError(t, users.FindOne(context.Background(), bson.D{{Key: "email", Value: "john@example.com"}}).Decode(&doc))
	if !strings.HasPrefix(doc.Password, "hs256$2a$04$") || doc.V == nil {
		t.Errorf("document after the login: got password %q and __v %v", doc.Password, doc.V)
	}

	c.Do("POST", "/auth/login", login).Want(200)
	c.Do("GET", "/auth/me", nil).Want(200)
	s.NewClient().Do("POST", "/auth/register", map[string]any{"name": "J", "email": "john@example.com", "password": apitest.Password}).Want(409)
}

// The owner of an imported account whose password has more than 72 bytes can log in, and the hash
// stays as it is until the password changes.
func TestLongPasswordOfGuide(t *testing.T) {
	t.Parallel()

	s := apitest.New(t, apitest.Options{BcryptCost: 5})
	users := s.Database().Collection("users")
	long := strings.Repeat("x", 80)

	// Made with bcryptjs 3.0.3, which ignores what follows the 72nd byte.
	const stored = "$2b$04$VfzwmlN8qRbol7X1.5cDVuK03PVZc5DLF53RuLEpi2d9Reg4uDxqy"
	_, err := users.InsertOne(t.Context(), bson.D{{Key: "name", Value: "Ann"}, {Key: "email", Value: "ann@example.com"}, {Key: "password", Value: stored}})
	testkit.NoError(t, err)

	for _, given := range []string{long, long[:72], long} {
		s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": given}).Want(200)
		if got := s.Account("ann@example.com").PasswordHash; got != stored {
			t.Fatalf("after a login with %d bytes: got hash %s, want it unchanged", len(given), got)
		}
	}
	s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": long[:71]}).Want(401)

	c := s.NewClient()
	c.Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": long}).Want(200)
	c.Do("POST", "/auth/password/change", map[string]any{"currentPassword": long, "newPassword": long + "y"}).Want(200)
	s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": long[:72]}).Want(401)
	s.NewClient().Do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": long + "y"}).Want(200)
}

// Disabling or deleting an account ends its sessions at their next request.
func TestAccountGone(t *testing.T) {
	t.Parallel()

	for why, change := range map[session.Reason]func(s *apitest.Server, id string) error{
		session.AccountDeleted: func(s *apitest.Server, id string) error { return s.Users.Delete(context.Background(), id) },
		session.AccountDisabled: func(s *apitest.Server, id string) error {
			_, err := s.Users.SetActive(context.Background(), id, false)

			return err
		},
	} {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()

			s := apitest.New(t)
			c := s.Register("ann@example.com")
			id := s.Account("ann@example.com").ID
			testkit.NoError(t, change(s, id))
			c.Clone().Do("PUT", "/profile", map[string]any{"name": "Eve"}).WantCode(401, "not_authenticated")
			c.WantReason(why)
			if u, _ := s.Users.ByID(t.Context(), id); u.Name == "Eve" {
				t.Error("the account was renamed")
			}

			if live := s.LiveSessions(s.Redis.Conn(t)); live != 0 {
				t.Errorf("sessions: got %d, want 0", live)
			}
		})
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()

	s := apitest.New(t)
	c := s.Register("ann@example.com")
	a := c.Do("PUT", "/profile", map[string]any{"name": "  Ann B.  "}).Want(200)
	if a.Text("message") != "Profile updated" || a.Text("user", "name") != "Ann B." {
		t.Errorf("update: got %s", a.Raw)
	}

	before := string(c.Do("GET", "/profile", nil).Want(200).Raw)
	for _, field := range []string{"role", "email", "emailVerified", "password", "passwordHash", "_id", "id", "isActive", "createdAt", "Name"} {
		c.Do("PUT", "/profile", map[string]any{"name": "Eve", field: "x"}).WantCode(400, "validation_failed")
	}

	if after := string(c.Do("GET", "/profile", nil).Want(200).Raw); after != before {
		t.Errorf("a rejected update changed the account from %s to %s", before, after)
	}
}

// wantFieldError checks that a form can show the problem of a response beside the field that caused it.
func wantFieldError(t *testing.T, a apitest.Response, field, code, message string) {
	t.Helper()

	var problem struct {
		Errors []struct{ Field, Code, Message string }
	}
	testkit.NoError(t, json.Unmarshal(a.Raw, &problem))
	if len(problem.Errors) != 1 {
		t.Fatalf("%s: got %s, want one field error", a.Request, a.Raw)
	}
	if got := problem.Errors[0]; got.Field != field || got.Code != code || got.Message != message {
		t.Errorf("%s: got field error %+v, want field %s, code %s and message %q", a.Request, got, field, code, message)
	}
}
