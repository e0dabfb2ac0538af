package oauth

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"latchkey/internal/user"
)

// claimsOf makes claims of what the provider has sent the browser back with.
func claimsOf(ctx context.Context, p provider, keys flowKeys, r flowRecord, query url.Values) (user.Claims, error) {
	for _, name := range []string{"code", "iss", "error"} {
		if len(query[name]) > 1 { // which one another reader takes is anyone's guess
			return user.Claims{}, refused("the callback has several of " + name)
		}
	}
	at, err := p.server(ctx)
	if err != nil {
		return user.Claims{}, err
	}
	if err := at.sent(query); err != nil {
		return user.Claims{}, err
	}
	if query.Has("error") {
		return user.Claims{}, failure(query.Get("error"))
	}
	code := query.Get("code")
	if code == "" {
		return user.Claims{}, refused("the callback has no code")
	}
	answer, err := at.redeem(ctx, code, keys.verifier)
	if err != nil {
		return user.Claims{}, err
	}
	return p.claims(ctx, answer, keys, r)
}

// sent tells whether a callback is from this server, where it says so (RFC 9207): one
// that was attacked could send the code of another one, to have it redeemed as its own.
func (at server) sent(query url.Values) error {
	given := query["iss"]
	switch {
	case len(given) == 0 && at.namesItself:
		return refused("the callback does not name the issuer, as the provider says that it does")
	case len(given) > 0 && !slices.Contains(at.issuers, given[0]):
		return refused("the callback names another issuer")
	}
	return nil
}

// redeem gives a code for tokens.
func (at server) redeem(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
	answer, err := at.Exchange(with(ctx, at.client.lenient()), code, oauth2.VerifierOption(verifier))
	var answered *oauth2.RetrieveError
	switch {
	case errors.As(err, &answered) && transient(answered.ErrorCode):
		return nil, unavailable("the token endpoint says " + answered.ErrorCode)
	case errors.As(err, &answered):
		return nil, refused("the token endpoint says " + sayable(answered.ErrorCode))
	case err != nil:
		return nil, asked(ctx, "the token endpoint", err)
	case answer.TokenType != "" && !strings.EqualFold(answer.TokenType, "bearer"):
		return nil, refused("the access token is not for bearers")
	}
	return answer, nil
}

// failure is what an error in a callback means.
func failure(code string) error {
	switch {
	case code == "access_denied":
		return ErrDenied
	case transient(code):
		return unavailable("the callback says " + code)
	}
	return refused("the callback says " + sayable(code))
}

// transient tells the errors of RFC 6749 section 4.1.2.1 that are the provider's trouble.
func transient(code string) bool { return code == "temporarily_unavailable" || code == "server_error" }

// errorCodes are those that may stand in a log: anything else is what someone has
// written into a URL, or a provider into an answer.
var errorCodes = []string{
	// RFC 6749 sections 4.1.2.1 and 5.2.
	"access_denied", "invalid_client", "invalid_grant", "invalid_request", "invalid_scope", "unauthorized_client",
	"unsupported_grant_type", "unsupported_response_type",
	// OpenID Connect Core section 3.1.2.6.
	"account_selection_required", "consent_required", "interaction_required", "invalid_request_object",
	"invalid_request_uri", "login_required", "registration_not_supported", "request_not_supported", "request_uri_not_supported",
	// GitHub, "Troubleshooting OAuth app access token request errors".
	"application_suspended", "bad_verification_code", "incorrect_client_credentials", "redirect_uri_mismatch", "unverified_user_email",
}

func sayable(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}
	return "an error that is not in the standard"
}
