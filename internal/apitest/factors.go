package apitest

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"latchkey/internal/datakey"
	"latchkey/internal/factor"
	"latchkey/internal/pending"
	"latchkey/internal/session"
	"latchkey/internal/testkit"
	"latchkey/internal/user"
)

// App is an authenticator app of a user.
type App struct {
	ID            string
	Secret        []byte
	RecoveryCodes []string

	server *Server
}

// Code returns the code that the app shows.
func (a App) Code() string { return factor.Code(a.Secret, factor.Step(a.server.Now())) }

// NextCode waits until the app shows a new code and returns it, since each works once.
func (a App) NextCode() string {
	a.server.Advance(factor.Period)

	return a.Code()
}

// StartPeriod advances the clock to the beginning of a period of the codes, so that it does not end during
// the next requests.
func (s *Server) StartPeriod() {
	s.Advance(factor.Period - time.Duration(s.Now().UnixNano()%int64(factor.Period)))
}

// WrongCode returns a code that the app does not show, nor has shown or will show within a few minutes.
func (a App) WrongCode() string {
	step := factor.Step(a.server.Now())
	for n := range 100 {
		code := string([]byte{'0', '0', '0', '0', byte('0' + n/10), byte('0' + n%10)})
		if _, ok := factor.MatchesClock(a.Secret, code, a.server.Now()); !ok && code != factor.Code(a.Secret, step) {
			return code
		}
	}

	panic("all codes are right")
}

// Enrol adds an authenticator app to the account that the client is signed in to.
func (c *Client) Enrol() App {
	c.T.Helper()

	begun := c.Do("POST", "/auth/totp", nil).Want(http.StatusOK)
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(begun.Text("secret"))
	testkit.NoError(c.T, err)

	app := App{ID: begun.Text("id"), Secret: secret, server: c.Server}
	added := c.Do("POST", "/auth/totp/"+app.ID+"/confirm", map[string]any{"code": app.Code(), "name": "Phone"}).Want(http.StatusOK)
	codes, _ := added.JSON["recoveryCodes"].([]any)
	for _, code := range codes {
		app.RecoveryCodes = append(app.RecoveryCodes, code.(string))
	}
	c.addSecrets(app)

	return app
}

// keyring returns the keys that encrypt the seeds.
func (s *Server) keyring() *datakey.Keyring {
	keys := make([][]byte, len(s.dataKeys))
	for i, key := range s.dataKeys {
		keys[i] = []byte(key)
	}

	return datakey.New(keys)
}

// BeginEnrolment lets an account set up an authenticator app with an ID, and returns the code that
// confirms it.
func (s *Server) BeginEnrolment(userID, id string) (code string) {
	s.T.Helper()

	return s.BeginApp(userID, id).Code()
}

// BeginApp lets an account set up an authenticator app with an ID, and returns the app.
func (s *Server) BeginApp(userID, id string) App {
	s.T.Helper()

	secret := factor.NewSecret()
	seed, err := s.keyring().Seal(secret, "totp "+userID+" "+id)
	testkit.NoError(s.T, err)
	e := user.Enrolment{ID: id, Seed: seed, Expires: s.Now().Add(10 * time.Minute)}
	testkit.NoError(s.T, s.Users.BeginEnrolment(context.Background(), userID, e))

	return App{ID: id, Secret: secret, server: s}
}

// AddFactor adds an authenticator app to an account without a session, and without ending sessions. The
// first one comes with recovery codes.
func (s *Server) AddFactor(userID string) App {
	s.T.Helper()

	ctx := context.Background()
	id := "added" + strings.ToLower(rand.Text())
	secret := factor.NewSecret()
	seed, err := s.keyring().Seal(secret, "totp "+userID+" "+id)
	testkit.NoError(s.T, err)
	e := user.Enrolment{ID: id, Seed: seed, Expires: s.Now().Add(10 * time.Minute)}
	testkit.NoError(s.T, s.Users.BeginEnrolment(ctx, userID, e))
	u, err := s.Users.ByID(ctx, userID)
	testkit.NoError(s.T, err)

	var codes, hashes []string
	if !u.HasFactor() {
		codes = factor.NewRecoveryCodes()
	}
	for _, code := range codes {
		hashes = append(hashes, factor.HashRecoveryCode(code))
	}
	_, err = s.Users.AddFactor(ctx, u, user.Factor{ID: id, Kind: user.TOTP, Name: "Phone", Seed: seed}, hashes)
	testkit.NoError(s.T, err)

	app := App{ID: id, Secret: secret, RecoveryCodes: codes, server: s}
	s.addSecrets(app)

	return app
}

// SignInWith starts a session for an account whose user has proved the given methods.
func (s *Server) SignInWith(userID string, methods ...session.Method) *Client {
	s.T.Helper()

	ctx := context.Background()
	u, err := s.Users.ByID(ctx, userID)
	testkit.NoError(s.T, err)
	generation, err := s.Sessions.Generation(ctx, userID)
	testkit.NoError(s.T, err)

	_, token, err := s.Sessions.Begin(ctx, session.Start{
		Owner:      session.Owner{UserID: userID, Email: string(u.Email), EmailVerified: u.EmailVerified},
		Methods:    methods,
		Persistent: true,
		Generation: generation,
	})
	testkit.NoError(s.T, err)

	return s.WithToken(token)
}

// addSecrets adds what only the user of an app may know to the secrets of the test.
func (s *Server) addSecrets(app App) {
	s.Secrets.Add("the seed of an authenticator app", factor.EncodeSecret(app.Secret))
	s.Secrets.Add("the seed of an authenticator app in hex", hex.EncodeToString(app.Secret))
	s.Secrets.AddRaw("the raw seed of an authenticator app", string(app.Secret))
	for _, code := range app.RecoveryCodes {
		s.Secrets.Add("a recovery code", code)
		s.Secrets.Add("a recovery code without hyphens", strings.ReplaceAll(code, "-", ""))
	}
}

// BeginPending begins a login to an account that waits for a second factor, and returns the value of its
// cookie.
func (s *Server) BeginPending(userID string) string {
	s.T.Helper()

	ctx := context.Background()
	u, err := s.Users.ByID(ctx, userID)
	testkit.NoError(s.T, err)
	generation, err := s.Sessions.Generation(ctx, userID)
	testkit.NoError(s.T, err)

	token, err := s.Pending.Begin(ctx, &pending.Login{
		UserID:           userID,
		Method:           session.Password,
		At:               s.Now(),
		Persistent:       true,
		Generation:       generation.String(),
		Email:            string(u.Email),
		DeviceGeneration: u.DeviceGeneration,
	})
	testkit.NoError(s.T, err)

	return token
}

// LoginTo sends the password of an account, and the code of its authenticator app if it has one.
func (c *Client) LoginTo(email string, app *App) Response {
	c.T.Helper()

	a := c.Do("POST", "/auth/login", Credentials(email, Password)).Want(http.StatusOK)
	if app == nil {
		return a
	}

	return c.Do("POST", "/auth/login/factor", map[string]any{"code": app.NextCode()}).Want(http.StatusOK)
}
