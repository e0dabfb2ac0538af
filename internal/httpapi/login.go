package httpapi

import (
	"errors"
	"net/http"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// methodPassword is what a session that began with a password says of itself.
const methodPassword = "password"

type registerRequest struct {
	Name     string `json:"name" validate:"required,person_name"`
	Email    string `json:"email" validate:"required,address"`
	Password string `json:"password" validate:"required,new_password"`
}

// register answers POST /auth/register: an account and a session, or neither, as
// far as the stores can be asked.
func (s *Server) register(w http.ResponseWriter, r *http.Request, in registerRequest) error {
	name, err := user.ParseName(in.Name)
	if err != nil {
		return err
	}
	email, err := user.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	epoch, err := s.sessions.Epoch(r.Context(), "")
	if err != nil {
		return err
	}
	u, err := s.auth.Register(r.Context(), name, email, in.Password)
	if err != nil {
		return err
	}
	begun, token, err := s.begin(r, u, session.SignIn{Method: methodPassword, Persistent: true, Epoch: epoch})
	if err != nil {
		if undo := s.auth.Unregister(r.Context(), u.ID); undo != nil {
			s.log.ErrorContext(r.Context(), "an account stays that nobody was told of", "userId", u.ID, "error", undo)
		}
		return err
	}
	s.arrive(w, r, u, begun, token, activity.Event{Name: activity.Registered, UserID: u.ID, SessionID: begun.Handle})
	if err := s.auth.AskVerification(r.Context(), u, originOf(r)); err != nil {
		s.log.ErrorContext(r.Context(), "a new user gets no mail to verify the address", "userId", u.ID, "error", err)
	}
	return writeJSON(w, http.StatusCreated, answerFor("Registration successful", u))
}

type loginRequest struct {
	Email    string `json:"email" validate:"required,address"`
	Password string `json:"password" validate:"required,any_password"`
	// RememberMe keeps the cookie beyond the browser's run; so does leaving it out.
	RememberMe *bool `json:"rememberMe"`
}

func (in loginRequest) account() string { return canonical(in.Email) }

// login answers POST /auth/login: note the epoch, prove, record, begin. In this
// order nothing that ends the sessions of the account is missed.
func (s *Server) login(w http.ResponseWriter, r *http.Request, in loginRequest) error {
	err := s.logIn(w, r, in)
	s.countLogin(err)
	return err
}

func (s *Server) logIn(w http.ResponseWriter, r *http.Request, in loginRequest) error {
	email, err := user.ParseEmail(in.Email)
	if err != nil {
		return err
	}
	candidate, err := s.auth.Candidate(r.Context(), email)
	if err != nil {
		return err
	}
	epoch, err := s.sessions.Epoch(r.Context(), candidate.UserID())
	if err != nil {
		return err
	}
	persistent := in.RememberMe == nil || *in.RememberMe
	u, begun, token, err := s.prove(r, candidate, epoch, in.Password, persistent)
	if errors.Is(err, auth.ErrBadCredentials) {
		s.record(w, r, activity.Event{Name: activity.LoginFailed, UserID: candidate.UserID()})
	}
	if err != nil {
		return err
	}
	s.arrive(w, r, u, begun, token, activity.Event{Name: activity.Login, UserID: u.ID, SessionID: begun.Handle})
	return writeJSON(w, http.StatusOK, answerFor("Login successful", u))
}

// arrive gives the browser a session that has begun, and notes it. An owner is told of a
// device that they were not seen on before.
func (s *Server) arrive(w http.ResponseWriter, r *http.Request, u user.User, begun *session.Session, token string, e activity.Event) {
	s.cookie.set(w, begun, token)
	address := canonical(string(u.Email))
	unseen := s.devices.known(r, address) == "" && e.Name != activity.Registered
	if begun.Persistent {
		s.devices.remember(w, r, address)
	}
	e.NewDevice = unseen
	s.record(w, r, e)
	if unseen {
		s.auth.TellNewDevice(r.Context(), u, originOf(r))
	}
}

// prove checks a password, records the login and begins the session.
func (s *Server) prove(r *http.Request, candidate auth.Candidate, epoch session.Epoch, password string, persistent bool) (user.User, *session.Session, string, error) {
	u, err := s.auth.Login(r.Context(), candidate, password)
	if err == nil {
		u, err = s.auth.RecordLogin(r.Context(), u)
	}
	if err != nil {
		return user.User{}, nil, "", err
	}
	begun, token, err := s.begin(r, u, session.SignIn{Method: methodPassword, Persistent: persistent, Epoch: epoch})
	return u, begun, token, err
}

// begin starts the session of u, in the way that in says, and then ends the one that the client had: what
// was planted in a browser before a login must not be logged in by it. On an error
// the session of before lives on and the new one does not; nobody has seen its token.
func (s *Server) begin(r *http.Request, u user.User, in session.SignIn) (*session.Session, string, error) {
	in.UserID, in.Email, in.Replaces = u.ID, string(u.Email), s.cookie.token(r)
	in.IP, in.UserAgent = clientIP(r), userAgent(r)
	begun, token, err := s.sessions.Begin(r.Context(), in)
	if errors.Is(err, session.ErrNone) {
		// All sessions of the account were ended since the password was checked. This is
		// a login that failed: the session that the client has is none of its business.
		err = auth.ErrBadCredentials
	}
	if err != nil {
		return nil, "", err
	}
	if err := s.sessions.Supersede(r.Context(), s.cookie.token(r)); err != nil {
		s.sessions.Undo(r.Context(), begun)
		return nil, "", err
	}
	s.metrics.SessionBegun(in.Method)
	return begun, token, nil
}

// logout answers POST /auth/logout. It ends the session by its token, because
// it may have another handle by now.
func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	ended, err := s.sessions.EndToken(r.Context(), s.cookie.token(r), session.LoggedOut)
	if err != nil {
		return err
	}
	if ended != nil {
		s.record(w, r, activity.Event{Name: activity.Logout, UserID: ended.UserID, SessionID: ended.Handle})
	}
	s.forget(w)
	return writeJSON(w, http.StatusOK, done{"Logout successful"})
}

// forget has the browser drop what it has of the session: the cookie, and what the
// pages of this origin kept (OWASP ASVS 5.0 14.3.1). Not "cookies", which would take
// those of other applications on the domain.
func (s *Server) forget(w http.ResponseWriter) {
	s.cookie.clear(w)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
}

// canonical is the one form of an address that was checked already.
func canonical(address string) string {
	email, _ := user.ParseEmail(address)
	return string(email)
}
