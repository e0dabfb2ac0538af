package httpapi

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"golang.org/x/crypto/bcrypt"

	"latchkey/internal/auth"
	"latchkey/internal/session"
)

// The session of the guide, step by step, with what its commands send.
func TestGuide(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.client()
	john := map[string]any{"name": "John Doe", "email": "john@example.com", "password": "password123"}

	registered := c.do("POST", "/auth/register", john).want(201)
	if got := registered.text("message"); got != "Registration successful" {
		t.Errorf("register says %q", got)
	}
	loggedIn := c.do("POST", "/auth/login", map[string]any{"email": "john@example.com", "password": "password123"}).want(200)
	if got := loggedIn.text("message"); got != "Login successful" {
		t.Errorf("login says %q", got)
	}
	if loggedIn.text("user", "lastLogin") == "" {
		t.Error("the login is not recorded")
	}
	me := c.do("GET", "/auth/me", nil).want(200)
	if me.text("user", "email") != "john@example.com" || me.text("user", "id") != registered.text("user", "id") {
		t.Errorf("me is %s", me.raw)
	}
	old := c.clone()
	out := c.do("POST", "/auth/logout", nil).want(200)
	if got := out.text("message"); got != "Logout successful" {
		t.Errorf("logout says %q", got)
	}
	if c.token != "" || out.header.Get("Clear-Site-Data") != `"cache", "storage"` {
		t.Errorf("logout leaves the browser with cookie %q and its data", c.token)
	}
	old.do("GET", "/auth/me", nil).wantCode(401, "not_authenticated")
	if old.token != "" {
		t.Error("the cookie of an ended session is not cleared")
	}
}

func TestCookieAttributes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		cookie Cookie
		want   string
	}{
		{"development", Cookie{Name: "sid", SameSite: http.SameSiteLaxMode}, "; Path=/; Max-Age=14400; HttpOnly; SameSite=Lax"},
		{"production", Cookie{Name: "__Host-sid", Secure: true, SameSite: http.SameSiteStrictMode}, "; Path=/; Max-Age=14400; HttpOnly; Secure; SameSite=Strict"},
		{"subdomains", Cookie{Name: "sid", Domain: "example.com", Secure: true, SameSite: http.SameSiteNoneMode}, "; Path=/; Domain=example.com; Max-Age=14400; HttpOnly; Secure; SameSite=None"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{cookie: tc.cookie})
			c := s.client()
			a := c.do("POST", "/auth/register", map[string]any{"name": "Ann", "email": "ann@example.com", "password": testPassword}).want(201)
			if got := a.header.Get("Set-Cookie"); got != tc.cookie.Name+"="+c.token+tc.want {
				t.Errorf("Set-Cookie: %s, want ...%s", got, tc.want)
			}
			if hsts := a.header.Get("Strict-Transport-Security"); (hsts != "") != tc.cookie.Secure {
				t.Errorf("Strict-Transport-Security is %q", hsts)
			}
			c.do("GET", "/auth/session", nil).want(200)
		})
	}
}

// The token is in no body and not in Redis; what is there is the handle, and
// deleting that key, as the guide does, ends the session.
func TestTokenStaysInTheCookie(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conn := s.redis.Conn(t)
	c := s.register("ann@example.com")
	session := c.do("GET", "/auth/session", nil).want(200)
	rotated := c.clone().do("POST", "/auth/rotate-session", nil).want(200)
	for _, a := range []answer{session, rotated} {
		if strings.Contains(string(a.raw), c.token) {
			t.Errorf("%s holds the token", a.request)
		}
	}
	key := "sess:" + rotated.text("sessionId")
	value, err := conn.Do("GET", key)
	if err != nil || value == nil {
		t.Fatalf("GET %s: %v %v", key, value, err)
	}
	if !strings.HasPrefix(string(value.([]byte)), "1\n"+session.text("userId")+"\nann@example.com\n") {
		t.Errorf("the value is not text to read: %s", value)
	}
	c = &client{site: s, token: rotated.cookie.Value}
	c.clone().do("GET", "/auth/session", nil).want(200)
	for _, part := range []string{rotated.cookie.Value, key} {
		if n, err := conn.Do("EXISTS", part); err != nil || (n == int64(1)) != (part == key) {
			t.Errorf("EXISTS %s: %v %v", part, n, err)
		}
	}
	if _, err := conn.Do("DEL", key); err != nil {
		t.Fatal(err)
	}
	c.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
}

func TestRegisterTaken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.register("ann@example.com")
	for _, email := range []string{"ann@example.com", "ANN@Example.COM", " ann@example.com "} {
		c := s.client()
		a := c.do("POST", "/auth/register", map[string]any{"name": "Eve", "email": email, "password": "another password"})
		a.wantCode(409, "email_taken")
		if a.text("message") != "Email already registered" || c.token != "" {
			t.Errorf("%s: %s, cookie %q", email, a.raw, c.token)
		}
	}
}

// One answer, to the byte but for its name, whatever is wrong.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.register("ann@example.com")
	s.register("off@example.com")
	_, err := s.database().Collection("users").UpdateOne(context.Background(),
		bson.D{{Key: "email", Value: "off@example.com"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "isActive", Value: false}}}})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, in := range []map[string]any{
		{"email": "nobody@example.com", "password": testPassword},
		{"email": "ann@example.com", "password": testPassword + "x"},
		{"email": "ann@example.com", "password": strings.ToUpper(testPassword)},
		{"email": "ann@example.com", "password": " " + testPassword},
		{"email": "off@example.com", "password": testPassword},
	} {
		c := s.client()
		a := c.do("POST", "/auth/login", in).wantCode(401, "invalid_credentials")
		if c.token != "" {
			t.Errorf("%v got a cookie", in)
		}
		bodies = append(bodies, strings.ReplaceAll(string(a.raw), a.text("requestId"), ""))
	}
	for _, body := range bodies[1:] {
		if body != bodies[0] {
			t.Errorf("answers differ: %s and %s", bodies[0], body)
		}
	}
}

// A login over a live session ends it, one that fails leaves it alone.
func TestLoginOverSession(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	before := c.clone()

	c.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": "wrong password"}).want(401)
	before.clone().do("GET", "/auth/me", nil).want(200)
	c.do("POST", "/auth/register", map[string]any{"name": "A", "email": "ann@example.com", "password": testPassword}).want(409)
	before.clone().do("GET", "/auth/me", nil).want(200)

	c.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword}).want(200)
	if c.token == before.token {
		t.Fatal("the login kept the token")
	}
	// An answer to the old token that comes late leaves the new cookie alone.
	if a := before.do("GET", "/auth/me", nil).want(401); a.cookie != nil {
		t.Errorf("the late answer sets the cookie %s", a.cookie)
	}
	before.do("POST", "/auth/logout", nil)
	c.do("GET", "/auth/me", nil).want(200)
	if live := s.liveSessions(s.redis.Conn(t)); live != 1 {
		t.Errorf("%d sessions, want 1", live)
	}
}

// A login that is refused at the last moment, because all other sessions were ended
// since the password was checked, leaves no session and ends none.
func TestLoginRefusedAtTheEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	u, err := s.users.ByEmail(context.Background(), "ann@example.com")
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(s.users, nil, s.sessions, Options{Cookie: s.cookie, Log: newLogger(s.log)})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/auth/login", nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: c.token})
	epoch, err := s.sessions.Epoch(context.Background(), u.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.clone().do("DELETE", "/auth/sessions", nil).want(200)
	if _, _, err := api.begin(r, u, session.SignIn{Method: methodPassword, Epoch: epoch}); !errors.Is(err, auth.ErrBadCredentials) {
		t.Fatal(err)
	}
	if live := s.liveSessions(s.redis.Conn(t)); live != 1 {
		t.Errorf("%d sessions, want the one of before", live)
	}
	c.do("GET", "/auth/session", nil).want(200)
}

// A document that is no account of the guide's is nobody's, and does not show by
// its answer that the address is known.
func TestUnreadableAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	_, err := s.database().Collection("users").InsertOne(context.Background(), bson.D{
		{Key: "name", Value: "X"}, {Key: "email", Value: "x@example.com"}, {Key: "password", Value: "h"}, {Key: "isActive", Value: "yes"},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.client().do("POST", "/auth/login", map[string]any{"email": "x@example.com", "password": "password"}).wantCode(401, "invalid_credentials")
	if !strings.Contains(s.log.String(), "an account cannot log in") {
		t.Error("the log says nothing")
	}
}

// A token that someone planted in a browser is not logged in by a login: the
// session gets a token of its own.
func TestLoginIgnoresPlantedToken(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.register("ann@example.com")
	planted := strings.Repeat("A", 43)
	c := &client{site: s, token: planted}
	c.do("POST", "/auth/login", map[string]any{"email": "ann@example.com", "password": testPassword}).want(200)
	if c.token == planted {
		t.Fatal("the planted token became a session")
	}
	(&client{site: s, token: planted}).do("GET", "/auth/session", nil).want(401)
}

func TestRememberMe(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	for _, tc := range []struct {
		remember any
		maxAge   int
	}{{nil, int(testAbsolute / time.Second)}, {true, int(testAbsolute / time.Second)}, {false, 0}} {
		in := map[string]any{"email": "ann@example.com", "password": testPassword, "rememberMe": tc.remember}
		if got := c.do("POST", "/auth/login", in).want(200).cookie.MaxAge; got != tc.maxAge {
			t.Errorf("rememberMe %v: Max-Age is %d, want %d", tc.remember, got, tc.maxAge)
		}
		// A rotation keeps the kind of cookie, and the end.
		if got := c.do("POST", "/auth/rotate-session", nil).want(200).cookie.MaxAge; got > tc.maxAge || got < tc.maxAge-60 {
			t.Errorf("rememberMe %v: Max-Age after a rotation is %d, want %d", tc.remember, got, tc.maxAge)
		}
	}
}

// A database that the guide's app filled is used as it is: bcrypt of the
// password itself, mongoose's version key, no emailVerified.
func TestGuideDatabase(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	users := s.database().Collection("users")
	plain, err := bcrypt.GenerateFromPassword([]byte("password123"), 4)
	if err != nil {
		t.Fatal(err)
	}
	stored := strings.Replace(string(plain), "$2a$", "$2b$", 1)
	now := time.Now()
	_, err = users.InsertOne(context.Background(), bson.D{
		{Key: "name", Value: "John Doe"}, {Key: "email", Value: "john@example.com"}, {Key: "password", Value: stored},
		{Key: "isActive", Value: true}, {Key: "createdAt", Value: now}, {Key: "updatedAt", Value: now}, {Key: "__v", Value: 0},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := s.client()
	login := map[string]any{"email": "John@Example.com", "password": "password123"}
	c.do("POST", "/auth/login", login).want(200)

	var doc struct {
		Password string `bson:"password"`
		V        *int   `bson:"__v"`
	}
	if err := users.FindOne(context.Background(), bson.D{{Key: "email", Value: "john@example.com"}}).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.Password, "hs256$2a$04$") || doc.V == nil {
		t.Errorf("after the login the document has %q and __v %v", doc.Password, doc.V)
	}
	c.do("POST", "/auth/login", login).want(200)
	c.do("GET", "/auth/me", nil).want(200)
	s.client().do("POST", "/auth/register", map[string]any{"name": "J", "email": "john@example.com", "password": testPassword}).want(409)
}

// An account that is disabled or deleted while its session lives shows nothing
// any more, and the session is gone.
func TestAccountGone(t *testing.T) {
	t.Parallel()
	for why, change := range map[session.Reason]func(s *site) error{
		session.AccountDeleted: func(s *site) error {
			_, err := s.database().Collection("users").DeleteMany(context.Background(), bson.D{})
			return err
		},
		session.AccountDisabled: func(s *site) error {
			_, err := s.database().Collection("users").UpdateMany(context.Background(), bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "isActive", Value: false}}}})
			return err
		},
	} {
		t.Run(string(why), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c := s.register("ann@example.com")
			if err := change(s); err != nil {
				t.Fatal(err)
			}
			c.clone().do("PUT", "/profile", map[string]any{"name": "Eve"}).wantCode(401, "not_authenticated")
			c.wantReason(why)
			c = s.signIn()
			c.clone().do("GET", "/auth/me", nil).wantCode(401, "not_authenticated")
			c.do("GET", "/auth/session", nil).wantCode(401, "not_authenticated")
			n, err := s.database().Collection("users").CountDocuments(context.Background(), bson.D{{Key: "name", Value: "Eve"}})
			if err != nil || n != 0 {
				t.Errorf("%d accounts were renamed, %v", n, err)
			}
			if live := s.liveSessions(s.redis.Conn(t)); live != 0 {
				t.Errorf("%d sessions live on", live)
			}
		})
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.register("ann@example.com")
	a := c.do("PUT", "/profile", map[string]any{"name": "  Ann B.  "}).want(200)
	if a.text("message") != "Profile updated" || a.text("user", "name") != "Ann B." {
		t.Errorf("update says %s", a.raw)
	}
	before := string(c.do("GET", "/profile", nil).want(200).raw)
	for _, field := range []string{"role", "email", "emailVerified", "password", "passwordHash", "_id", "id", "isActive", "createdAt", "Name"} {
		c.do("PUT", "/profile", map[string]any{"name": "Eve", field: "x"}).wantCode(400, "validation_failed")
	}
	if after := string(c.do("GET", "/profile", nil).want(200).raw); after != before {
		t.Errorf("a refused update changed the account: %s to %s", before, after)
	}
}
