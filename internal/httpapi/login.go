package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

type registerRequest struct {
	Name       string     `json:"name" validate:"required,canonical_name" description:"Leading and trailing spaces are removed. Control characters are not allowed."`
	Email      user.Email `json:"email" validate:"required,canonical_email" description:"Case does not matter."`
	Password   string     `json:"password" validate:"required,new_password"`
	Invitation string     `json:"invitation,omitempty" description:"The token of an invitation: the part of its link between #token= and &email=. The email must be the invited one, and counts as verified."`
}

type registerResult struct {
	Message string    `json:"message" const:"Registration successful"`
	User    user.View `json:"user"`
}

var registerOperation = operation{
	id:      "register",
	tag:     tagLogin,
	summary: "Create an account and log in",
	description: "The new session replaces the current one, if there is one. A failed registration leaves the current session unchanged. " +
		"With `REGISTRATION=invite` an `invitation` is required, which works once.",
	request: registerRequest{
		Name:     exampleUser.Name,
		Email:    exampleUser.Email,
		Password: examplePassword,
	},
	response: response{
		status:  http.StatusCreated,
		result:  "The user, and a session cookie",
		body:    registerResult{"Registration successful", exampleUser},
		headers: []string{"Set-Cookie"},
	},
}

// register handles POST /auth/register. It creates an account and a session, or neither, as
// long as the stores respond.
func (s *Server) register(w http.ResponseWriter, r *http.Request, in registerRequest) error {
	signedIn, err := s.auth.Register(r.Context(), auth.Registration{
		Name:     in.Name,
		Email:    in.Email,
		Password: in.Password,

		Invitation: in.Invitation,
	}, s.signInClient(r))
	if errors.Is(err, auth.ErrInvalidToken) {
		s.record(w, r, activity.Event{Name: activity.InvitationFailed})
	}
	if err != nil {
		return err
	}

	s.completeSignIn(w, r, signedIn, activity.Event{Name: activity.Registered})
	return writeJSON(w, http.StatusCreated, registerResult{"Registration successful", signedIn.User.View()})
}

type loginRequest struct {
	Email    user.Email `json:"email" validate:"required,canonical_email"`
	Password string     `json:"password" validate:"required,any_password"`
	// RememberMe is true if it is missing.
	RememberMe *bool `json:"rememberMe,omitempty" description:"If false, the cookie ends with the browser session. The default is true."`
}

type loginResult struct {
	Message        string            `json:"message" enum:"Login successful,Second factor required"`
	User           *user.View        `json:"user,omitempty" description:"Missing if a second factor is required."`
	FactorRequired bool              `json:"factorRequired,omitzero" description:"Whether the account has a second factor, and the login waits for it: continue with POST /auth/login/factor."`
	Factors        []auth.FactorKind `json:"factors,omitzero" description:"The second factors that the account accepts. Empty if only an operator can help."`
}

const (
	msgLoggedIn             = "Login successful"
	msgSecondFactorRequired = "Second factor required"
)

var loginOperation = operation{
	id:      "login",
	tag:     tagLogin,
	summary: "Log in with a password",
	description: "The new session replaces the current one, if there is one. A failed login leaves the current session unchanged. " +
		"After 100 wrong passwords in a row the password is restricted: from a device that is unknown to the account, it gets the same response as a wrong one, until the user logs in on a known device or with a provider, or resets the password. " +
		"Without `SMTP_URL`, a few passwords an hour from each IP are still checked on unknown devices.",
	request: loginRequest{
		Email:    exampleUser.Email,
		Password: examplePassword,
	},
	response: response{
		status:  http.StatusOK,
		result:  "The user, and a session cookie. If the account has a second factor, the login waits for it: there is no user, and the cookie is that of the login",
		body:    loginResult{Message: msgLoggedIn, User: &exampleUser},
		headers: []string{"Set-Cookie"},
	},
}

func (in loginRequest) account() user.Email { return in.Email }

// login handles POST /auth/login.
func (s *Server) login(w http.ResponseWriter, r *http.Request, in loginRequest) error {
	signedIn, err := s.auth.SignIn(r.Context(), auth.Credentials{
		Email:      in.Email,
		Account:    loadedAccount(r),
		Password:   in.Password,
		Persistent: in.RememberMe == nil || *in.RememberMe,
	}, s.signInClient(r))
	if signedIn.Pending == nil {
		s.countLogin(err)
	}
	if errors.Is(err, auth.ErrBadCredentials) {
		s.record(w, r, activity.Event{Name: activity.LoginFailed, UserID: signedIn.User.ID})
	}
	if errors.Is(err, auth.ErrTooManyFailures) {
		s.record(w, r, activity.Event{Name: activity.PasswordRestricted, UserID: signedIn.User.ID})
	}
	if err != nil {
		return err
	}

	if p := signedIn.Pending; p != nil {
		s.keepPending(w, r, p)

		return writeJSON(w, http.StatusOK, loginResult{Message: msgSecondFactorRequired, FactorRequired: true, Factors: p.Factors})
	}

	s.completeSignIn(w, r, signedIn, activity.Event{Name: activity.Login})
	view := signedIn.User.View()

	return writeJSON(w, http.StatusOK, loginResult{Message: msgLoggedIn, User: &view})
}

// completeSignIn gives the browser its session, records the event, and notifies the owner of a
// new device.
func (s *Server) completeSignIn(w http.ResponseWriter, r *http.Request, signedIn auth.SignedIn, e activity.Event) {
	s.cookie.set(w, signedIn.Session, signedIn.Token)

	e.UserID = signedIn.User.ID
	e.SessionID = signedIn.Session.ID
	e.Level = signedIn.Session.Level()
	e.Methods = signedIn.Session.Names(",")
	e.NewDevice = !s.devices.knows(r, signedIn.User) && e.Name != activity.Registered
	if signedIn.Session.Persistent && s.admitDevice(r, signedIn.User) {
		s.devices.remember(w, r, signedIn.User)
	}

	s.record(w, r, e)
	if e.NewDevice && !s.hasJustRegistered(r, signedIn) {
		s.auth.NotifyNewDevice(r.Context(), signedIn.User, s.clientOf(r))
	}
}

// justRegistered is how long after a registration hasJustRegistered recognizes the client.
const justRegistered = 10 * time.Minute

// hasJustRegistered reports whether the client that signs in registered the account a moment ago, but
// keeps no cookies, as a script does. An email about a new device would alarm the owner. The client is
// recognized by its IP and browser, which others may share. So the result is false after justRegistered,
// and after the user has revoked all known devices.
func (s *Server) hasJustRegistered(r *http.Request, signedIn auth.SignedIn) bool {
	u := signedIn.User
	isNew := s.now().Sub(u.CreatedAt) < justRegistered && u.DeviceGeneration == ""
	if !isNew || !s.devices.proofs(r).Empty() {
		return false
	}

	all, err := s.sessions.List(r.Context(), u.ID)
	if err != nil {
		return false
	}

	return slices.ContainsFunc(all, func(other *session.Session) bool {
		return other.ID != signedIn.Session.ID && other.Client == signedIn.Session.Client
	})
}

type logoutResult struct {
	Message string `json:"message" const:"Logout successful"`
}

var logoutOperation = operation{
	id:          "logout",
	tag:         tagLogin,
	summary:     "Log out",
	description: "Ends the session on the server, even if other requests are in flight.",
	response: response{
		status:  http.StatusOK,
		result:  "The session has ended and its cookie is cleared",
		body:    logoutResult{"Logout successful"},
		headers: []string{"Set-Cookie", "Clear-Site-Data"},
	},
}

// logout handles POST /auth/logout.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	if err := s.endSession(w, r); err != nil {
		return err
	}

	return writeJSON(w, http.StatusOK, logoutResult{"Logout successful"})
}

// endSession ends every session whose cookie the browser sent, and forgets them. It follows a
// rotation that has just replaced the token: otherwise a user who logs out during a rotation would
// stay signed in. It also cancels a login that waits for a second factor. If a login has replaced the session, it returns an error and leaves the cookie,
// which is that of the new session.
func (s *Server) endSession(w http.ResponseWriter, r *http.Request) error {
	cancelled, err := s.cancelPending(w, r)
	if err != nil {
		return err
	}

	ended, err := s.sessions.EndTokens(r.Context(), s.cookie.values(r), session.LoggedOut)
	for _, e := range ended {
		s.record(w, r, activity.Event{Name: activity.Logout, UserID: e.UserID, SessionID: e.ID, Once: true})
	}
	wasPending := cancelled && errors.Is(err, session.ErrNone) // there was no session yet
	if err != nil && !wasPending {
		return err
	}

	s.forget(w)

	return nil
}

// forget makes the browser delete the session cookie and the storage of this origin (OWASP ASVS
// 5.0 14.3.1). It does not use "cookies", which would delete the cookies of other applications
// on the domain, too, nor "cache": every response of the API is no-store, and Chromium takes a
// second to search the files of all sites.
func (s *Server) forget(w http.ResponseWriter) {
	s.cookie.clear(w)
	w.Header().Set("Clear-Site-Data", `"storage"`)
}
