package httpapi

import (
	"errors"
	"net/http"
	"slices"

	"latchkey/internal/activity"
	"latchkey/internal/auth"
	"latchkey/internal/oauth"
	"latchkey/internal/returnto"
	"latchkey/internal/session"
	"latchkey/internal/user"
)

type finishSignInParams struct {
	providerParams
	Code  string `query:"code" description:"The authorization code."`
	State string `query:"state" description:"The state that was sent to the provider."`
	Iss   string `query:"iss" description:"The issuer (RFC 9207)."`
	Error string `query:"error" description:"Why there is no code."`
}

var finishSignInOperation = operation{
	id:      "finishSignIn",
	tag:     tagExternal,
	summary: "Return from a provider",
	description: "The provider redirects the browser here, and this redirects it to `return_to`: logged in with a new session, or with an external account linked. " +
		"After a failure, `return_to` has an `error` parameter: see `SignInError`.\n\n" +
		"Users are identified by issuer and subject, never by email. A first login creates an account. If an account already has the email, but the provider has not verified the email, the owner of the account has to log in first and link the accounts. " +
		"If the provider has verified it, the accounts are linked, provided that the user of the account has proved ownership of the email: with a link opened while signed in or on a known device, a password reset or an earlier sign-in. " +
		"Otherwise the user takes over the account, and its password and sessions are removed.",
	params:   finishSignInParams{},
	response: redirectResponse("A redirect to `return_to`, after a failure with an `error`"),
}

// finishSignIn handles GET /auth/{provider}/callback with a redirect to the page. By then the
// user is logged in or has linked an account, or the URL has the code of a failure.
func (s *Server) finishSignIn(provider string) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		query := r.URL.Query()
		state := query.Get("state")

		finished, err := s.providers.Finish(r.Context(), provider, s.flows.secret(r, state), query)
		flow := finished.Flow

		// Every sign-in was counted when it started, and can finish only once. Count all other requests.
		if errors.Is(err, oauth.ErrNoFlow) {
			if _, limited := s.checkRateLimit(w, r, attempt{limit: limitCallback}); limited != nil {
				return s.redirectFailure(w, r, s.failurePage(), limited)
			}
		}

		var waiting *auth.Pending
		switch {
		case err == nil && flow.Link:
			err = s.link(w, r, finished)
		case err == nil:
			waiting, err = s.signInWithProvider(w, r, finished)
		}

		if !flow.Link && waiting == nil {
			s.countLogin(err)

			refused := err != nil && !errors.Is(err, oauth.ErrDenied) && failureOf(err).status != http.StatusServiceUnavailable
			if refused {
				s.record(w, r, activity.Event{Name: activity.LoginFailed, Provider: provider})
			}
		}

		// Check the URL again. It comes from Redis, and the allowed origins may have changed.
		back, ok := s.origins.returnTo(flow.ReturnTo)
		if !ok {
			back = s.failurePage()
		}
		if err != nil {
			back = returnto.WithError(back, s.prepareFailure(w, r, err).code)
		}
		if waiting != nil {
			s.keepPending(w, r, waiting)
			back = returnto.WithError(back, errSecondFactorRequired.code)
		}

		s.flows.forget(w, r, state)
		redirect(w, back)

		return nil
	}
}

// signInWithProvider signs in a user authenticated by an external provider. If the account has a second
// factor, it returns the login that waits for it.
func (s *Server) signInWithProvider(w http.ResponseWriter, r *http.Request, finished oauth.Finished) (*auth.Pending, error) {
	flow := finished.Flow
	if err := s.requireSameAccount(r, flow, finished.Claims); err != nil {
		return nil, err
	}

	claims, err := s.neededClaims(r, finished)
	if err != nil {
		return nil, err
	}

	client := s.signInClient(r)
	if len(client.SessionIDs) == 0 && flow.SessionID != "" {
		// With SameSite=Strict the browser returns without its session cookie.
		client.SessionIDs = []string{flow.SessionID}
	}

	in := auth.ProviderSignIn{Claims: claims, Persistent: !flow.Temporary}
	signedIn, err := s.auth.SignInWithProvider(r.Context(), in, client)
	if errors.Is(err, auth.ErrNoAccount) {
		// Apply the limit of registrations before an account is created.
		if _, err := s.checkRateLimit(w, r, attempt{limit: limitRegister}); err != nil {
			return nil, err
		}
		signedIn, err = s.auth.RegisterWithProvider(r.Context(), in, client)
	}

	event := activity.Event{Name: activity.Login, Provider: claims.Provider}
	switch signedIn.Outcome {
	case auth.Linked:
		s.record(w, r, activity.Event{Name: activity.IdentityLinked, UserID: signedIn.User.ID, Provider: claims.Provider})
	case auth.Claimed:
		s.record(w, r, activity.Event{Name: activity.AccountClaimed, UserID: signedIn.User.ID, Provider: claims.Provider})
	case auth.Created:
		event.Name = activity.Registered
	case auth.Existing:
	}
	if err != nil || signedIn.Pending != nil {
		return signedIn.Pending, err
	}

	s.completeSignIn(w, r, signedIn, event)

	return nil, nil
}

// neededClaims returns the claims, and completes them only if the external account is not linked
// yet: a user who returns needs no email from the provider.
func (s *Server) neededClaims(r *http.Request, finished oauth.Finished) (user.Claims, error) {
	claims := finished.Claims
	if finished.IsComplete() {
		return claims, nil
	}

	_, err := s.users.ByIdentity(r.Context(), claims.Issuer, claims.Subject)
	if errors.Is(err, user.ErrNotFound) {
		return finished.Complete(r.Context())
	}

	return claims, err
}

// requireSameAccount checks that a user who confirms their identity, or comes from a page of
// another site, uses an external account that is linked to their current account. Otherwise
// choosing the wrong account at the provider would log them in to another account here.
func (s *Server) requireSameAccount(r *http.Request, flow oauth.Flow, claims user.Claims) error {
	var accounts []string
	if flow.UserID != "" && (flow.Reauthenticate || flow.KeepAccount) {
		accounts = append(accounts, flow.UserID)
	}

	// The user may have logged in since the start, for example in another tab.
	if flow.KeepAccount {
		loaded, err := s.sessions.Load(r.Context(), s.cookie.values(r)...)
		switch {
		case err == nil:
			current, _ := s.sessions.FromContext(loaded)
			accounts = append(accounts, current.UserID)
		case errors.Is(err, session.ErrAmbiguous):
			return errCrossOrigin // as in startSignIn
		case !session.IsGone(err):
			return err
		}
	}
	if len(accounts) == 0 {
		return nil
	}

	known, err := s.users.ByIdentity(r.Context(), claims.Issuer, claims.Subject)
	isOther := func(id string) bool { return id != known.ID }
	if errors.Is(err, user.ErrNotFound) || err == nil && slices.ContainsFunc(accounts, isOther) {
		return errWrongAccount
	}

	return err
}
