package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

// route is one row of the table.
type route struct {
	pattern  string // "METHOD /path"
	access   access
	limit    limit
	endpoint endpoint
	// forUnverified opens the route to users whose email is not verified, even if
	// Options.RequireVerifiedEmail is set. They need it to verify or to correct their email.
	forUnverified bool
	// forUnenrolled opens the route to sessions without a second factor, even with REQUIRE_MFA=all. Users
	// need it to add one.
	forUnenrolled bool
	// fromMemory answers most requests of a GET route with a session: see answerFromMemory.
	fromMemory fromMemory
	// signedOut, if it is not nil, can answer a request without a session. It reports whether it did.
	signedOut func(http.ResponseWriter, *http.Request) bool
	// errors are the errors of this route, besides the ones that all routes of its kind have:
	// see sharedErrors.
	errors errs
	// redirected are the errors that a browser gets as the error parameter of a redirect.
	redirected errs
	operation  operation
}

// access is who may use a route. The zero value requires a session, so that forgetting it in a
// row is safe.
type access int

const (
	withSession access = iota
	// withPendingLogin requires a pending login, which is not a session.
	withPendingLogin
	public
)

// errs are errors that a route can return.
type errs []error

// sharedErrors returns the errors that all routes of the kind have. The OpenAPI document
// lists them after the errors of the route.
func (rt route) sharedErrors() errs {
	shared := errs{errInvalidJSON, errInvalidField, errTooLarge, errNotJSON, errTooManyHeaders, errSlowBody}

	method, _, _ := strings.Cut(rt.pattern, " ")
	if !safe(method) {
		shared = append(shared, errCrossOrigin)
	}
	switch rt.access {
	case withSession:
		shared = append(shared, session.ErrNone)
	case withPendingLogin:
		shared = append(shared, auth.ErrNoPendingLogin, user.ErrUnavailable)
	case public:
	}
	if rt.access == withSession && !rt.forUnverified {
		shared = append(shared, errEmailNotVerified, user.ErrUnavailable)
	}
	if rt.access == withSession && !rt.forUnenrolled {
		shared = append(shared, errSecondFactorRequired)
	}
	if rt.limit != noLimit {
		shared = append(shared, errTooMany)
	}
	if rt.access != public || rt.limit != noLimit { // all of these are in Redis
		shared = append(shared, session.ErrUnavailable)
	}

	return shared
}

// table returns every route of the API.
func (s *Server) table() []route {
	table := append(s.fixedRoutes(), s.pageRoutes()...)
	for _, p := range s.providers.Providers() {
		table = append(table, s.providerRoutes(p.Name)...)
	}

	return table
}

// fixedRoutes lists every URL of the API, except those of the providers.
func (s *Server) fixedRoutes() []route {
	return []route{
		{
			pattern: "POST /auth/register", access: public, limit: limitRegister, endpoint: passwordBody(s.register), operation: registerOperation,
			errors: errs{
				auth.ErrRegistrationClosed, auth.ErrInvitationRequired, auth.ErrEmailDomain,
				auth.ErrInvalidToken, user.ErrEmailTaken, errWeakPassword, auth.ErrBusy, user.ErrUnavailable,
			},
		},
		{
			pattern: "POST /auth/login", access: public, limit: limitLogin, endpoint: passwordBody(s.login), operation: loginOperation,
			errors: errs{auth.ErrBadCredentials, auth.ErrBusy, user.ErrUnavailable},
		},
		{pattern: "GET /auth/login/factor", access: withPendingLogin, endpoint: noBody(s.pendingLogin), operation: pendingLoginOperation},
		{
			pattern: "POST /auth/login/factor", access: withPendingLogin, limit: limitFactor, endpoint: jsonBody(s.completeLogin), operation: completeLoginOperation,
			errors: errs{errWrongCode, auth.ErrFactorsUnavailable},
		},
		{
			// Public, so that a login that was just completed can still be cancelled.
			pattern: "DELETE /auth/login/factor", access: public, endpoint: noBody(s.cancelLogin), operation: cancelLoginOperation,
			errors: errs{session.ErrUnavailable},
		},
		{
			// Public, because the handler reads the cookie itself.
			pattern: "POST /auth/logout", access: public, endpoint: noBody(s.logout), operation: logoutOperation,
			errors: errs{session.ErrNone, session.ErrUnavailable},
		},

		{
			pattern: "GET /auth/me", forUnenrolled: true, endpoint: noBody(s.me), fromMemory: s.meFromMemory, operation: meOperation,
			errors: errs{user.ErrUnavailable},
		},
		{pattern: "GET /auth/session", forUnverified: true, forUnenrolled: true, endpoint: noBody(s.session), fromMemory: s.sessionFromMemory, operation: sessionOperation},
		{pattern: "GET /auth/verify", endpoint: noBody(s.verify), fromMemory: s.verifyFromMemory, signedOut: s.offerSignIn, operation: verifyOperation},
		{pattern: "POST /auth/rotate-session", endpoint: noBody(s.rotate), operation: rotateOperation},
		{pattern: "GET /auth/sessions", endpoint: noBody(s.listSessions), operation: listSessionsOperation},
		{pattern: "DELETE /auth/sessions", endpoint: noBody(s.revokeSessions), operation: revokeSessionsOperation},
		{
			pattern: "DELETE /auth/sessions/{id}", endpoint: noBody(s.revokeSession), operation: revokeSessionOperation,
			errors: errs{errNoSession},
		},
		{
			pattern: "GET /auth/activity", endpoint: noBody(s.listActivity), operation: listActivityOperation,
			errors: errs{user.ErrUnavailable},
		},

		{
			pattern: "POST /auth/step-up", forUnverified: true, forUnenrolled: true, limit: limitPassword, endpoint: passwordBody(s.stepUp), operation: stepUpOperation,
			errors: errs{
				auth.ErrWrongPassword, errWrongCode, auth.ErrPasswordRestricted, auth.ErrNoPassword, auth.ErrNoFactor,
				auth.ErrBusy, auth.ErrFactorsUnavailable, user.ErrUnavailable,
			},
		},
		{
			pattern: "POST /auth/password/change", limit: limitPassword, endpoint: passwordBody(s.changePassword), operation: changePasswordOperation,
			errors: errs{errStepUp, errWrongCurrentPassword, auth.ErrPasswordRestricted, auth.ErrNoPassword, errWeakPassword, auth.ErrBusy, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/password/set", limit: limitPassword, endpoint: passwordBody(s.setPassword), operation: setPasswordOperation,
			errors: errs{errStepUp, auth.ErrHasPassword, errWeakPassword, auth.ErrBusy, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/password/forgot", access: public, limit: limitMail, endpoint: jsonBody(s.forgotPassword), operation: forgotPasswordOperation,
			errors: errs{auth.ErrMailNotConfigured, auth.ErrMailBusy},
		},
		{
			pattern: "POST /auth/password/reset", access: public, limit: limitToken, endpoint: passwordBody(s.resetPassword), operation: resetPasswordOperation,
			errors: errs{auth.ErrInvalidToken, errWeakPassword, auth.ErrBusy, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/email/verify", access: public, limit: limitToken, endpoint: jsonBody(s.verifyEmail), operation: verifyEmailOperation,
			errors: errs{auth.ErrInvalidToken, auth.ErrEmailDomain, user.ErrEmailTaken, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/email/resend", forUnverified: true, forUnenrolled: true, limit: limitMail, endpoint: noBody(s.resendVerification), operation: resendVerificationOperation,
			errors: errs{auth.ErrMailNotConfigured, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/email/change", forUnverified: true, forUnenrolled: true, limit: limitMail, endpoint: jsonBody(s.changeEmail), operation: changeEmailOperation,
			errors: errs{auth.ErrMailNotConfigured, errStepUp, auth.ErrEmailDomain, user.ErrUnavailable},
		},

		{
			pattern: "GET /auth/factors", forUnenrolled: true, endpoint: noBody(s.listFactors), operation: listFactorsOperation,
			errors: errs{user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/totp", forUnenrolled: true, endpoint: noBody(s.enrolTOTP), operation: enrolTOTPOperation,
			errors: errs{errStepUp, auth.ErrTooManyFactors, auth.ErrFactorsNotConfigured, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/totp/{id}/confirm", forUnenrolled: true, limit: limitPassword, endpoint: jsonBody(s.confirmTOTP), operation: confirmTOTPOperation,
			errors: errs{errStepUp, errWrongEnrolmentCode, auth.ErrNoEnrolment, auth.ErrTooManyFactors, auth.ErrFactorsUnavailable, user.ErrUnavailable},
		},
		{
			pattern: "PUT /auth/factors/{id}", endpoint: jsonBody(s.renameFactor), operation: renameFactorOperation,
			errors: errs{auth.ErrUnknownFactor, user.ErrUnavailable},
		},
		{
			pattern: "DELETE /auth/factors/{id}", endpoint: noBody(s.removeFactor), operation: removeFactorOperation,
			errors: errs{errStepUp, auth.ErrUnknownFactor, user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/recovery-codes", limit: limitPassword, endpoint: noBody(s.newRecoveryCodes), operation: newRecoveryCodesOperation,
			errors: errs{errStepUp, auth.ErrNoFactor, user.ErrUnavailable},
		},
		{
			pattern: "GET /auth/devices", endpoint: noBody(s.listDevices), operation: listDevicesOperation,
			errors: errs{user.ErrUnavailable},
		},
		{
			pattern: "DELETE /auth/devices/{id}", endpoint: noBody(s.removeDevice), operation: removeDeviceOperation,
			errors: errs{auth.ErrNoDevice, user.ErrUnavailable},
		},

		{pattern: "GET /auth/config", access: public, endpoint: noBody(s.config), operation: configOperation},
		{pattern: "GET /auth/providers", access: public, endpoint: noBody(s.listProviders), operation: listProvidersOperation},
		{
			pattern: "GET /auth/identities", endpoint: noBody(s.listIdentities), operation: listIdentitiesOperation,
			errors: errs{user.ErrUnavailable},
		},
		{
			pattern: "POST /auth/identities/{provider}", limit: limitOAuth, endpoint: jsonBody(s.startLink), operation: linkIdentityOperation,
			errors: errs{errStepUp, oauth.ErrUnknownProvider, oauth.ErrUnavailable},
		},
		{
			pattern: "DELETE /auth/identities/{provider}", endpoint: noBody(s.unlink), operation: unlinkIdentityOperation,
			errors: errs{errStepUp, user.ErrNoIdentity, user.ErrLastMethod, user.ErrUnavailable},
		},

		{
			pattern: "GET /profile", endpoint: noBody(s.me), fromMemory: s.meFromMemory, operation: profileOperation,
			errors: errs{user.ErrUnavailable},
		},
		{
			pattern: "PUT /profile", endpoint: jsonBody(s.updateProfile), operation: updateProfileOperation,
			errors: errs{user.ErrUnavailable},
		},
		{
			pattern: "DELETE /profile", endpoint: noBody(s.deleteProfile), operation: deleteProfileOperation,
			errors: errs{errStepUp, user.ErrUnavailable},
		},

		{pattern: "GET /healthz", access: public, endpoint: noBody(s.healthz), operation: healthzOperation},
		{
			pattern: "GET /readyz", access: public, endpoint: noBody(s.readyz), operation: readyzOperation,
			errors: errs{errStoresDown},
		},
		{pattern: "GET /docs", access: public, endpoint: noBody(s.docs), operation: docsOperation},
		{
			pattern: "GET /docs/*", access: public, endpoint: noBody(s.docsAsset), // part of the page, not documented
			errors: errs{errNoRoute},
		},
		{pattern: "GET /openapi.json", access: public, endpoint: noBody(document(s.openAPI)), operation: openAPIOperation},
		{pattern: "GET /client.js", access: public, endpoint: noBody(crossOriginFile("client.js", clientScript)), operation: clientScriptOperation},
		{pattern: "GET /client.d.ts", access: public, endpoint: noBody(crossOriginFile("client.d.ts", clientTypes)), operation: clientTypesOperation},
		{pattern: "GET /postman.json", access: public, endpoint: noBody(document(func() ([]byte, error) { return postman, nil })), operation: postmanOperation},
	}
}

// providerRoutes lists the URLs of a provider. They count attempts themselves, since they
// answer a failure with a redirect.
func (s *Server) providerRoutes(name string) []route {
	return []route{
		{
			pattern: "GET /auth/" + name, access: public, endpoint: noBody(s.startSignIn(name)), operation: startSignInOperation,
			errors:     errs{errNotNavigation},
			redirected: errs{errTooMany, errCrossOrigin, oauth.ErrUnavailable, session.ErrUnavailable},
		},
		{
			pattern: "GET /auth/" + name + "/callback", access: public, endpoint: noBody(s.finishSignIn(name)), operation: finishSignInOperation,
			redirected: errs{
				oauth.ErrNoFlow, oauth.ErrDenied, oauth.ErrRefused, oauth.ErrUnavailable,
				auth.ErrRegistrationClosed, auth.ErrInvitationRequired, auth.ErrEmailDomain,
				auth.ErrNoEmail, auth.ErrLinkRequired, auth.ErrDisabled, auth.ErrBadCredentials, context.Canceled,
				user.ErrIdentityTaken, user.ErrAlreadyLinked, user.ErrUnavailable, session.ErrUnavailable,
				errSessionEnded, errWrongAccount, errSecondFactorRequired, errTooMany, errInternal,
			},
		},
	}
}

// routes returns the router of the API.
func (s *Server) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(
		s.closeConnection,                   // during a shutdown, and after a chunked request
		setRequestID,                        // name the request, for the log and the response
		setSecurityHeaders(s.cookie.Secure), // on every response, errors included
		s.observe,                           // log, count and trace the request
		s.refusePreflight,                   // of pages that are not in FRONTEND_URL
		s.origins.cors,                      // let pages of FRONTEND_URL read the response
		s.limitHeaders,                      // refuse requests with too many headers
		middleware.GetHead,                  // answer HEAD like GET
	)
	r.NotFound(s.handle(s.noRoute))
	r.MethodNotAllowed(s.handle(methodNotAllowed(r)))

	for _, rt := range s.table() {
		method, path, _ := strings.Cut(rt.pattern, " ")
		s.metrics.Routes(path)
		r.Method(method, path, s.handle(s.serve(rt)))
	}

	return r
}

// methods are the methods of HTTP that a route may have.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// methodNotAllowed handles requests to a path that exists with other methods. It lists these in
// Allow (RFC 9110 section 15.5.6), because chi does not pass them to a custom handler.
func methodNotAllowed(routes chi.Routes) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		var allowed []string
		for _, method := range methods {
			registered := method
			if method == "HEAD" {
				registered = "GET"
			}
			if routes.Match(chi.NewRouteContext(), registered, r.URL.Path) {
				allowed = append(allowed, method)
			}
		}
		if len(allowed) == 0 {
			return errNoRoute // chi also calls this for unknown methods
		}

		w.Header().Set("Allow", strings.Join(allowed, ", "))

		return errMethodNotAllowed
	}
}
