package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/pending"
)

// keepPending gives the browser its pending login, and records that the first factor was proved.
func (s *Server) keepPending(w http.ResponseWriter, r *http.Request, p *auth.Pending) {
	s.pendingCookie.write(w, p.Token, int(pending.MaxAge/time.Second))
	s.record(w, r, activity.Event{
		Name:     activity.SecondFactorRequested,
		UserID:   p.UserID,
		Provider: p.Provider,
		Methods:  p.Method,
	})
}

type pendingKey struct{}

// loadPending adds the pending login of a request to its context. Errors: auth.ErrNoPendingLogin,
// user.ErrUnavailable, session.ErrUnavailable.
func (s *Server) loadPending(ctx context.Context, r *http.Request) (context.Context, auth.Pending, error) {
	p, err := s.auth.PendingLogin(ctx, s.pendingCookie.value(r))
	if err != nil {
		return ctx, auth.Pending{}, err
	}

	return context.WithValue(ctx, pendingKey{}, p), p, nil
}

// pendingOf returns the pending login of a request.
func pendingOf(r *http.Request) auth.Pending {
	p, _ := r.Context().Value(pendingKey{}).(auth.Pending)

	return p
}

type pendingResult struct {
	Factors   []auth.FactorKind `json:"factors" description:"The second factors that the account accepts. It is empty if only an operator can help."`
	ExpiresAt time.Time         `json:"expiresAt" description:"When the user has to log in again."`
}

var pendingLoginOperation = operation{
	id:          "pendingLogin",
	tag:         tagLogin,
	summary:     "Get the pending login",
	description: "A login is pending after a response with `factorRequired`, or after a provider returned with `second_factor_required`. A pending login is not a session: it gives access only to these three operations.",
	response: response{
		status: http.StatusOK,
		result: "The login",
		body:   pendingResult{[]auth.FactorKind{auth.TOTPFactor, auth.RecoveryCodeFactor}, exampleTime.Add(pending.MaxAge)},
	},
}

// pendingLogin handles GET /auth/login/factor.
func (*Server) pendingLogin(w http.ResponseWriter, r *http.Request) error {
	p := pendingOf(r)

	return writeJSON(w, http.StatusOK, pendingResult{p.Factors, p.ExpiresAt})
}

type completeLoginRequest struct {
	Code         string `json:"code,omitempty" validate:"required_without=RecoveryCode,excluded_with=RecoveryCode,max=64" description:"The code that the authenticator app shows. Spaces are ignored."`
	RecoveryCode string `json:"recoveryCode,omitempty" validate:"max=64" description:"One of the recovery codes. Case, spaces and hyphens are ignored."`
	TrustDevice  bool   `json:"trustDevice,omitzero" description:"Do not ask for a second factor on this device for 30 days."`
}

var completeLoginOperation = operation{
	id:      "completeLogin",
	tag:     tagLogin,
	summary: "Log in with a second factor",
	description: "Completes the pending login. Each code works once. The fifth wrong code ends the login. " +
		"After 100 wrong codes in a row, an authenticator app is disabled until the user proves another factor.",
	request: completeLoginRequest{Code: exampleCode},
	response: response{
		status:  http.StatusOK,
		result:  "The user, and a session cookie",
		body:    loginResult{Message: msgLoggedIn, User: &exampleUser},
		headers: []string{"Set-Cookie"},
	},
}

// completeLogin handles POST /auth/login/factor.
func (s *Server) completeLogin(w http.ResponseWriter, r *http.Request, in completeLoginRequest) error {
	code := auth.Code{OTP: in.Code, Recovery: in.RecoveryCode}
	signedIn, err := s.auth.CompleteLogin(r.Context(), s.pendingCookie.value(r), code, in.TrustDevice, s.signInClient(r))
	s.countLogin(err)
	s.countCode(code, err)
	s.recordCodeFailure(w, r, err, activity.Event{Name: activity.FactorFailed, UserID: signedIn.User.ID})
	if signedIn.RecoveryUsed {
		s.record(w, r, activity.Event{Name: activity.RecoveryCodeUsed, UserID: signedIn.User.ID})
	}
	if err != nil {
		return s.codeFailure(err, code)
	}

	s.pendingCookie.clear(w)
	if signedIn.TrustProof != "" {
		s.trust.keep(w, signedIn.User.ID, signedIn.TrustProof)
	}

	s.completeSignIn(w, r, signedIn, activity.Event{Name: activity.Login, Provider: pendingOf(r).Provider})
	if signedIn.TrustProof != "" {
		s.record(w, r, activity.Event{Name: activity.DeviceTrusted, UserID: signedIn.User.ID, SessionID: signedIn.Session.ID})
	}
	view := signedIn.User.View()

	return writeJSON(w, http.StatusOK, loginResult{Message: msgLoggedIn, User: &view})
}

// recordCodeFailure records the event e if err is auth.ErrWrongCode, and that an authenticator app was
// disabled if err is auth.ErrFactorDisabled.
func (s *Server) recordCodeFailure(w http.ResponseWriter, r *http.Request, err error, e activity.Event) {
	if errors.Is(err, auth.ErrWrongCode) {
		s.record(w, r, e)
	}
	if errors.Is(err, auth.ErrFactorDisabled) {
		e.Name = activity.FactorDisabled
		s.record(w, r, e)
	}
}

// codeFailure returns the failure for an error about the code of a second factor. A wrong code of an
// authenticator app may be due to a wrong clock, so the failure states the server's time.
func (s *Server) codeFailure(err error, code auth.Code) error {
	switch {
	case !errors.Is(err, auth.ErrWrongCode):
		return err
	case code.Recovery != "":
		return errWrongRecoveryCode
	}

	failure := *errWrongCode
	failure.serverTime = s.now().UTC().Truncate(time.Second)

	return &failure
}

var cancelLoginOperation = operation{
	id:      "cancelLogin",
	tag:     tagLogin,
	summary: "Cancel the pending login",
	response: response{
		status:  http.StatusNoContent,
		result:  "The login is cancelled and its cookie cleared",
		headers: []string{"Set-Cookie"},
	},
}

// cancelLogin handles DELETE /auth/login/factor.
func (s *Server) cancelLogin(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.cancelPending(w, r); err != nil {
		return err
	}

	w.WriteHeader(http.StatusNoContent)

	return nil
}

// cancelPending cancels the pending login of a request, and reports whether it had one. If the login was
// completed at the same time, its session ends.
func (s *Server) cancelPending(w http.ResponseWriter, r *http.Request) (cancelled bool, err error) {
	token := s.pendingCookie.value(r)
	if token == "" {
		return false, nil
	}

	cancelled, ended, err := s.auth.CancelPending(r.Context(), token)
	if err != nil {
		return false, err
	}
	if ended != nil {
		s.record(w, r, activity.Event{Name: activity.Logout, UserID: ended.UserID, SessionID: ended.ID, Once: true})
	}
	s.pendingCookie.clear(w)

	return cancelled || ended != nil, nil
}
