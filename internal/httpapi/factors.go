package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/factor"
	"latchkey/internal/user"
)

// secondFactor is a second factor as its owner sees it.
type secondFactor struct {
	ID        string    `json:"id" minLength:"1"`
	Type      string    `json:"type" enum:"totp" description:"totp is an authenticator app."`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	LastUsed  time.Time `json:"lastUsed,omitzero"`
	Disabled  bool      `json:"disabled,omitzero" description:"Whether the app is disabled after 100 wrong codes in a row. Using another factor enables it again."`
}

func viewFactor(f user.Factor) secondFactor {
	return secondFactor{
		ID:        f.ID,
		Type:      f.Kind,
		Name:      f.Name,
		CreatedAt: f.CreatedAt,
		LastUsed:  f.LastUsed,
		Disabled:  f.Disabled(),
	}
}

var exampleFactor = secondFactor{
	ID:        "kq5d7wzp3arnxm2bjtghv6scey",
	Type:      user.TOTP,
	Name:      "Phone",
	CreatedAt: exampleTime,
}

type factorsResult struct {
	Factors       []secondFactor `json:"factors"`
	RecoveryCodes int            `json:"recoveryCodes" minimum:"0" description:"The number of unused recovery codes."`
}

var listFactorsOperation = operation{
	id:      "listFactors",
	tag:     tagFactors,
	summary: "List the second factors",
	response: response{
		status: http.StatusOK,
		result: "The second factors, oldest first",
		body:   factorsResult{[]secondFactor{exampleFactor}, factor.RecoveryCodes},
	},
}

// listFactors handles GET /auth/factors.
func (s *Server) listFactors(w http.ResponseWriter, r *http.Request) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}

	shown := []secondFactor{}
	for _, f := range u.ListFactors() {
		shown = append(shown, viewFactor(f))
	}

	return writeJSON(w, http.StatusOK, factorsResult{shown, len(u.RecoveryCodes)})
}

type enrolmentResult struct {
	ID        string    `json:"id" minLength:"1"`
	Secret    string    `json:"secret" description:"In base32, for users who cannot scan the QR code."`
	URI       string    `json:"uri" format:"uri" description:"What the QR code contains."`
	QRCode    string    `json:"qrCode" description:"The QR code as an SVG document."`
	ExpiresAt time.Time `json:"expiresAt" description:"When the setup expires."`
}

var enrolTOTPOperation = operation{
	id:      "enrolTotp",
	tag:     tagFactors,
	summary: "Set up an authenticator app",
	description: "Show the QR code to the user, and confirm the code that the app then shows with `POST /auth/totp/{id}/confirm`. Until then nothing changes. " +
		"A new request replaces an earlier one that was not confirmed.",
	response: response{
		status: http.StatusOK,
		result: "The secret for the app. It is not shown again",
		body: enrolmentResult{ //nolint:gosec // the secret is an example
			ID:        exampleFactor.ID,
			Secret:    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
			URI:       "otpauth://totp/Example:john%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example&algorithm=SHA1&digits=6&period=30",
			QRCode:    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 53 53">...</svg>`,
			ExpiresAt: exampleTime.Add(10 * time.Minute),
		},
	},
}

// enrolTOTP handles POST /auth/totp.
func (s *Server) enrolTOTP(w http.ResponseWriter, r *http.Request) error {
	// Check this before the step-up, so that users do not enter their password for nothing.
	if !s.auth.FactorsAvailable() {
		return auth.ErrFactorsNotConfigured
	}
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	e, err := s.auth.EnrolTOTP(r.Context(), s.current(r).UserID)
	if err != nil {
		return s.endIfAccountGone(r, err)
	}
	svg, err := factor.QRCode(e.URI)
	if err != nil {
		return err
	}

	return writeJSON(w, http.StatusOK, enrolmentResult{
		ID:        e.ID,
		Secret:    e.Secret,
		URI:       e.URI,
		QRCode:    svg,
		ExpiresAt: e.Expires,
	})
}

type factorIDParams struct {
	ID string `path:"id" description:"The ID of a second factor."`
}

type confirmTOTPRequest struct {
	Code string `json:"code" validate:"required,max=64" description:"The code that the app shows. Spaces are ignored."`
	Name string `json:"name,omitempty" validate:"omitempty,canonical_name" description:"A name by which the user recognizes the app. The default is Authenticator app."`
}

type factorAddedResult struct {
	Message         string       `json:"message" const:"Authenticator app added"`
	Factor          secondFactor `json:"factor"`
	RecoveryCodes   []string     `json:"recoveryCodes,omitempty" description:"Codes for users who lose the app. Each works once. Returned only if the account had none, and never again."`
	SessionID       string       `json:"sessionId,omitempty" pattern:"^[A-Za-z0-9_-]{45}$" description:"Missing if the session has ended."`
	AuthenticatedAt time.Time    `json:"authenticatedAt,omitzero"`
}

const msgFactorAdded = "Authenticator app added"

// defaultFactorName is the name of an authenticator app that the user has not named.
const defaultFactorName = "Authenticator app"

var exampleRecoveryCodes = []string{"7Q2M9-XH4KD-R8T3V-W6PZC-5JN1B", "B4E7K-2MQ9T-Z3XWH-8RVDN-6PCJ5"}

var confirmTOTPOperation = operation{
	id:      "confirmTotp",
	tag:     tagFactors,
	summary: "Add the authenticator app",
	description: "From now on, a login to the account needs a second factor. All other sessions of the account end, and other devices become unknown to it. " +
		"The session of this request continues with a new token. The owner is notified by email.",
	params:  factorIDParams{},
	request: confirmTOTPRequest{Code: exampleCode, Name: exampleFactor.Name},
	response: response{
		status: http.StatusOK,
		result: "The app was added, and the session has a new cookie",
		body: factorAddedResult{
			Message:         msgFactorAdded,
			Factor:          exampleFactor,
			RecoveryCodes:   exampleRecoveryCodes,
			SessionID:       exampleSessionID,
			AuthenticatedAt: exampleTime,
		},
		headers: []string{"Set-Cookie"},
	},
}

// confirmTOTP handles POST /auth/totp/{id}/confirm.
func (s *Server) confirmTOTP(w http.ResponseWriter, r *http.Request, in confirmTOTPRequest) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	name := cmp.Or(in.Name, defaultFactorName)
	added, err := s.auth.ConfirmTOTP(r.Context(), s.caller(r), chi.URLParam(r, "id"), in.Code, name)
	if added.User.ID != "" {
		s.recordForSession(w, r, activity.FactorAdded)
	}
	if added.RecoveryCodes != nil {
		s.recordForSession(w, r, activity.RecoveryCodesCreated)
	}
	if added.User.ID == "" {
		return s.endIfAccountGone(r, s.enrolmentFailure(err))
	}
	if err != nil {
		// The client must get the recovery codes nevertheless.
		s.log.ErrorContext(r.Context(), "authenticator app was added, but other sessions may still be active",
			"requestId", w.Header().Get(requestIDHeader), "userId", added.User.ID, "error", err)
	}

	result := factorAddedResult{
		Message:       msgFactorAdded,
		Factor:        viewFactor(added.Factor),
		RecoveryCodes: added.RecoveryCodes,
	}
	if err == nil && s.renewCookies(w, r, added.Changed) {
		result.SessionID = added.Session.ID
		result.AuthenticatedAt = added.Session.AuthenticatedAt
	}

	return writeJSON(w, http.StatusOK, result)
}

// renewCookies gives the browser the new token of its session after a change of the factors, and reports
// whether the session continues.
func (s *Server) renewCookies(w http.ResponseWriter, r *http.Request, changed auth.Changed) bool {
	if changed.Session == nil {
		s.cookie.clear(w)
		return false
	}

	s.cookie.set(w, changed.Session, changed.Token)
	s.devices.renew(w, r, changed.Session, changed.User)

	return true
}

// enrolmentFailure returns the failure for a wrong code while an authenticator app is being set up.
func (s *Server) enrolmentFailure(err error) error {
	var clock *auth.WrongClockError
	switch {
	case errors.As(err, &clock):
		return wrongClock(clock)
	case errors.Is(err, auth.ErrWrongCode):
		return errWrongEnrolmentCode
	}

	return err
}

// wrongClock returns the failure for a code that is right for another time.
func wrongClock(e *auth.WrongClockError) *failure {
	now := e.Now.UTC()
	direction := "ahead"
	off := e.Off
	if off < 0 {
		direction = "behind"
		off = -off
	}

	message := fmt.Sprintf("This code is for another time. Check the clock of your device: it seems to be %d min %s. The server's time is %s.",
		int(off.Round(time.Minute)/time.Minute), direction, now.Format("15:04:05 MST on 2 January 2006"))

	return &failure{
		status:     http.StatusBadRequest,
		code:       errWrongEnrolmentCode.code,
		detail:     message,
		fields:     []fieldError{{"code", "wrong_clock", message}},
		serverTime: now.Truncate(time.Second),
	}
}

type renameFactorRequest struct {
	Name string `json:"name" validate:"required,canonical_name"`
}

type factorResult struct {
	Factor secondFactor `json:"factor"`
}

var renameFactorOperation = operation{
	id:      "renameFactor",
	tag:     tagFactors,
	summary: "Rename a second factor",
	params:  factorIDParams{},
	request: renameFactorRequest{Name: exampleFactor.Name},
	response: response{
		status: http.StatusOK,
		result: "The factor with its new name",
		body:   factorResult{exampleFactor},
	},
}

// renameFactor handles PUT /auth/factors/{id}.
func (s *Server) renameFactor(w http.ResponseWriter, r *http.Request, in renameFactorRequest) error {
	f, err := s.auth.RenameFactor(r.Context(), s.current(r).UserID, chi.URLParam(r, "id"), in.Name)
	if err != nil {
		return s.endIfAccountGone(r, err)
	}
	s.recordForSession(w, r, activity.FactorRenamed)

	return writeJSON(w, http.StatusOK, factorResult{viewFactor(f)})
}

var removeFactorOperation = operation{
	id:      "removeFactor",
	tag:     tagFactors,
	summary: "Remove a second factor",
	description: "Requires a recent proof of a second factor. With the last one, the recovery codes are removed, too, and a login needs only one factor again. " +
		"All other sessions end, and other devices become unknown to the account. The session of this request continues with a new token. The owner is notified by email.",
	params: factorIDParams{},
	response: response{
		status:  http.StatusNoContent,
		result:  "The factor was removed, and the session has a new cookie",
		headers: []string{"Set-Cookie"},
	},
}

// removeFactor handles DELETE /auth/factors/{id}.
func (s *Server) removeFactor(w http.ResponseWriter, r *http.Request) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	changed, err := s.auth.RemoveFactor(r.Context(), s.caller(r), chi.URLParam(r, "id"))
	if changed.User.ID != "" {
		s.recordForSession(w, r, activity.FactorRemoved)
	}
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	s.renewCookies(w, r, changed)
	w.WriteHeader(http.StatusNoContent)

	return nil
}

type recoveryCodesResult struct {
	RecoveryCodes []string `json:"recoveryCodes" description:"The codes, which are not shown again."`
}

var newRecoveryCodesOperation = operation{
	id:          "newRecoveryCodes",
	tag:         tagFactors,
	summary:     "Create new recovery codes",
	description: "The earlier ones stop working. Each code works once, instead of a code of the authenticator app. The owner is notified by email.",
	response: response{
		status: http.StatusOK,
		result: "The new recovery codes",
		body:   recoveryCodesResult{exampleRecoveryCodes},
	},
}

// newRecoveryCodes handles POST /auth/recovery-codes.
func (s *Server) newRecoveryCodes(w http.ResponseWriter, r *http.Request) error {
	if err := s.requireRecentAuth(r); err != nil {
		return err
	}

	codes, err := s.auth.NewRecoveryCodes(r.Context(), s.caller(r))
	if err != nil {
		return s.endIfAccountGone(r, err)
	}
	s.recordForSession(w, r, activity.RecoveryCodesCreated)

	return writeJSON(w, http.StatusOK, recoveryCodesResult{codes})
}

// requireSecondFactor refuses a request if REQUIRE_MFA=all and its session has none, unless the user needs
// the route to add one.
func (s *Server) requireSecondFactor(r *http.Request, rt route) error {
	if rt.access != withSession || rt.forUnenrolled || s.auth.MFA() != auth.MFAAll {
		return nil
	}
	if !hasSecondFactor(s.current(r)) {
		return errSecondFactorRequired
	}

	return nil
}
