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

// claimsOf turns the query of a callback into claims.
func claimsOf(ctx context.Context, p provider, keys flowKeys, r flowRecord, query url.Values) (user.Claims, completion, error) {
	// 1. Reject repeated parameters: parsers disagree about which of them counts.
	for _, name := range []string{"code", "iss", "error"} {
		if len(query[name]) > 1 {
			return user.Claims{}, nil, refused("callback: repeated parameter " + name)
		}
	}

	// 2. Check that the callback comes from this provider.
	srv, err := p.server(ctx)
	if err != nil {
		return user.Claims{}, nil, err
	}
	if err := srv.checkIssuer(query); err != nil {
		return user.Claims{}, nil, err
	}

	// 3. Exchange the code for tokens.
	if query.Has("error") {
		return user.Claims{}, nil, callbackError(query.Get("error"))
	}
	code := query.Get("code")
	if code == "" {
		return user.Claims{}, nil, refused("callback: no code")
	}
	response, err := srv.exchange(ctx, code, keys.verifier)
	if err != nil {
		return user.Claims{}, nil, err
	}

	// 4. Verify the tokens and read the claims.
	return p.claims(ctx, response, keys, r)
}

// checkIssuer checks that a callback comes from this server, if it contains iss (RFC 9207).
// A compromised provider could send the code of another provider, to have it redeemed as its
// own.
func (srv server) checkIssuer(query url.Values) error {
	issuers := query["iss"]
	switch {
	case len(issuers) == 0 && srv.sendsIssuer:
		return refused("callback: iss is missing, although the provider supports it")
	case len(issuers) > 0 && !slices.Contains(srv.issuers, issuers[0]):
		return refused("callback: wrong issuer")
	}

	return nil
}

// exchange exchanges a code for tokens.
func (srv server) exchange(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
	const endpoint = "token endpoint"

	response, err := srv.Exchange(srv.client.in(ctx), code, oauth2.VerifierOption(verifier))
	var failed *oauth2.RetrieveError
	switch {
	case errors.As(err, &failed) && isTransient(failed.ErrorCode):
		return nil, unavailable(endpoint + ": " + failed.ErrorCode)
	case errors.As(err, &failed):
		return nil, refused(endpoint + ": " + loggableErrorCode(failed.ErrorCode))
	case err != nil:
		return nil, callFailed(ctx, endpoint, err)
	case response.TokenType != "" && !strings.EqualFold(response.TokenType, "bearer"):
		return nil, refused(endpoint + ": not a bearer token")
	}

	return response, nil
}

// callbackError returns the error for an error code in a callback.
func callbackError(code string) error {
	switch {
	case code == "access_denied":
		return ErrDenied
	case isTransient(code):
		return unavailable("callback: " + code)
	}

	return refused("callback: " + loggableErrorCode(code))
}

// isTransient reports whether an error code of RFC 6749 section 4.1.2.1 means that the
// provider has a temporary problem.
func isTransient(code string) bool {
	return code == "temporarily_unavailable" || code == "server_error"
}

// errorCodes are the error codes that may be logged. Other values are unknown input, which
// anyone may have put into the URL of a callback.
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

// loggableErrorCode returns an error code in a form that may be logged.
func loggableErrorCode(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}

	return "unknown error code"
}
