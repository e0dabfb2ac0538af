// Package oauth signs users in with external providers: Google, GitHub and any OpenID Connect
// provider.
//
// It owns the client side of the authorization code flow: Service.Start returns the URL of
// the provider to redirect the browser to, and Service.Finish turns the query of the callback
// into verified user.Claims. Finished.Complete adds the optional ones that only a new user
// needs. What claims mean for an account belongs to package auth. Routes and cookies belong to
// package httpapi.
//
// The flow uses PKCE, state, nonce and iss (RFC 6749, 7636, 9207, 9700; OpenID Connect Core
// 1.0; OWASP ASVS 5.0 chapters 9 and 10). Redis stores a flow until the browser returns,
// but the secret to finish it is only in a cookie. Tokens of providers are never stored.
// Responses of providers are validated before use, and limited in time and size.
//
// Package oauthtest has fake providers for tests.
//
// Start reading at Service.Start and Service.Finish in flow.go. Providers are in oidc.go
// (with discovery.go, keyset.go and idtoken.go) and github.go; client.go is their HTTP client.
package oauth
