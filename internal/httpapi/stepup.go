package httpapi

import (
	"net/http"
	"slices"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/session"
)

type stepUpRequest struct {
	Password     string `json:"password,omitempty" validate:"required_without_all=Code RecoveryCode,any_password"`
	Code         string `json:"code,omitempty" validate:"excluded_with=RecoveryCode,max=64" description:"The code that the authenticator app shows."`
	RecoveryCode string `json:"recoveryCode,omitempty" validate:"max=64" description:"One of the recovery codes, instead of a code."`
}

// code returns the second factor in the request, or nil.
func (in stepUpRequest) code() *auth.Code {
	if in.Code == "" && in.RecoveryCode == "" {
		return nil
	}

	return &auth.Code{OTP: in.Code, Recovery: in.RecoveryCode}
}

var stepUpOperation = operation{
	id:      "stepUp",
	tag:     tagSession,
	summary: "Confirm the identity",
	description: "Required by operations that return `step_up_required`, which lists in `methods` what the user has to confirm: the password, a second factor, or both. " +
		"It is valid for `STEP_UP_MAX_AGE`, and a login counts as well. The session continues with a new token.",
	request: stepUpRequest{Password: examplePassword},
	response: response{
		status:  http.StatusOK,
		result:  "The identity is confirmed, and the session has a new cookie",
		body:    renewedResult{"Identity confirmed", exampleSessionID, exampleTime},
		headers: []string{"Set-Cookie"},
	},
}

// stepUp handles POST /auth/step-up. The user proves their identity again, as
// requireRecentAuth demands.
func (s *Server) stepUp(w http.ResponseWriter, r *http.Request, in stepUpRequest) error {
	code := in.code()
	done, err := s.auth.StepUp(r.Context(), s.caller(r), auth.StepUp{Password: in.Password, Code: code})
	if done.RecoveryUsed {
		s.recordForSession(w, r, activity.RecoveryCodeUsed)
	}
	s.recordWrongPassword(w, r, err, activity.StepUpFailed)
	s.recordCodeFailure(w, r, err, activity.Event{
		Name:      activity.StepUpFailed,
		UserID:    s.current(r).UserID,
		SessionID: s.current(r).ID,
	})
	if code != nil {
		s.countCode(*code, err)
		err = s.codeFailure(err, *code)
	}
	if err != nil {
		return s.endIfAccountGone(r, err)
	}

	next := done.Session
	s.record(w, r, activity.Event{
		Name:      activity.StepUp,
		UserID:    next.UserID,
		SessionID: next.ID,
		Level:     next.Level(),
		Methods:   next.Names(","),
	})

	return s.writeRenewed(w, "Identity confirmed", next, done.Token)
}

// requireRecentAuth checks that the user proved their identity a short while ago, at the level of the
// account. Access to an unlocked browser must not be enough to take over the account (OWASP ASVS 5.0
// 7.5.1, 7.5.3). proved are the methods that the request itself proves. Errors: a step_up_required
// failure, an EndedError if the account is gone, user.ErrUnavailable.
func (s *Server) requireRecentAuth(r *http.Request, proved ...string) error {
	u, err := s.account(r)
	if err != nil {
		return err
	}

	missing := auth.MissingProofs(u, s.current(r).Proof, s.now().Add(-s.stepUpMaxAge))
	missing = slices.DeleteFunc(missing, func(method string) bool { return slices.Contains(proved, method) })
	if len(missing) == 0 {
		return nil
	}

	failure := *errStepUp

	return failure.demand(missing, seconds(s.stepUpMaxAge))
}

// hasSecondFactor reports whether the user of a session has proved a second factor.
func hasSecondFactor(current *session.Session) bool { return current.Level() == session.AAL2 }
