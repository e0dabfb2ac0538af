// Package oauthtest provides fake identity providers for tests: an OpenID Connect issuer and a
// fake GitHub, both on loopback.
//
// They enforce the standard, including PKCE and single use of codes. On demand they misbehave:
// see Behaviour and GitHubBehaviour for wrong content, and Fault for failing endpoints.
// Authorize plays the browser and the user: it takes the URL that the program under test
// redirects to, and returns the URL of the callback.
//
// The package does not depend on package oauth. Only tests import it.
//
// Start reading at NewIssuer in issuer.go and NewGitHub in github.go.
package oauthtest
