package httpapi

import (
	"cmp"
	"net/http"
	"time"

	"latchkey/internal/session"
)

// problem is the body of every failure (RFC 9457). Its message repeats the detail, so that a
// client can read the same member after success and failure.
type problem struct {
	Type          string         `json:"type" const:"about:blank"`
	Title         string         `json:"title"`
	Status        int            `json:"status" minimum:"400" maximum:"599"`
	Detail        string         `json:"detail" description:"What went wrong, for people."`
	Code          string         `json:"code" description:"What went wrong, for programs."`
	Message       string         `json:"message" description:"The same text as detail."`
	RequestID     string         `json:"requestId" minLength:"1"`
	Errors        []fieldError   `json:"errors,omitempty" minItems:"1" description:"The fields that caused the problem, if any."`
	Reason        session.Reason `json:"reason,omitempty" description:"In a 401 response: why the session ended or was not accepted. Available for up to a day afterwards."`
	Authenticated *bool          `json:"authenticated,omitempty" description:"In a 401 response of GET /auth/session: always false."`
	Methods       []string       `json:"methods,omitempty" minItems:"1" description:"With step_up_required: everything that the user has to confirm. pwd is the password and otp a second factor, both with POST /auth/step-up. fed is a login with GET /auth/{provider}?prompt=login."`
	MaxAge        int            `json:"maxAge,omitzero" description:"With step_up_required: for how many seconds a confirmation counts."`
	ServerTime    *time.Time     `json:"serverTime,omitempty" description:"With wrong_code: the time of the server. If the clock of the user's device shows another time, its codes are wrong."`
	Stores        *storeStates   `json:"stores,omitempty" description:"In a 503 response of GET /readyz: the states of the stores."`
}

// newProblem returns the body of a response to a failure.
func newProblem(f *failure, requestID string) problem {
	p := problem{
		Type:      "about:blank",
		Title:     http.StatusText(f.status),
		Status:    f.status,
		Detail:    f.detail,
		Code:      f.code,
		Message:   f.detail,
		RequestID: requestID,
		Errors:    f.fields,
		Methods:   f.methods,
		MaxAge:    f.maxAge,
		Stores:    f.stores,
	}
	if !f.serverTime.IsZero() {
		p.ServerTime = &f.serverTime
	}

	return p
}

// fieldError is one thing that is wrong with a request.
type fieldError struct {
	Field   string `json:"field" description:"The member of the body or the parameter. Empty for the body as a whole."`
	Code    string `json:"code" enum:"invalid_json,duplicate,unknown,wrong_type,required,invalid_email,invalid_name,unsupported_locale,too_short,too_long,invalid,common,personal,breached,unchanged,email_taken,wrong_password,wrong_code,wrong_clock"`
	Message string `json:"message" description:"A sentence for people."`
}

// failure is what a client learns about an error.
type failure struct {
	status      int
	code        string
	detail      string // for people
	description string // for developers, in the OpenAPI document; empty if detail is enough
	fields      []fieldError
	methods     []string  // for errStepUp
	maxAge      int       // for errStepUp, in seconds
	serverTime  time.Time // for errWrongCode
	stores      *storeStates
}

func newFailure(status int, code, detail string) *failure {
	return &failure{status: status, code: code, detail: detail}
}

// explain sets the description for developers in the OpenAPI document. The default is the detail.
func (f *failure) explain(description string) *failure {
	f.description = description
	return f
}

// about names the field that caused the failure, so that a form can show the message beside it.
func (f *failure) about(field, message string) *failure {
	f.fields = []fieldError{{field, f.code, message}}
	return f
}

// demand sets what the user has to confirm, and for how many seconds that counts.
func (f *failure) demand(methods []string, maxAge int) *failure {
	f.methods = methods
	f.maxAge = maxAge
	return f
}

// explanation describes the failure to developers.
func (f *failure) explanation() string { return cmp.Or(f.description, f.detail) }

// Error implements error, for failures that arise in this package.
func (f *failure) Error() string { return f.code }
