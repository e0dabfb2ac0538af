// Package oauthtest gives tests providers to sign in at: an issuer of OpenID Connect,
// and a look-alike of GitHub, on loopback.
//
// They hold a client to the standard, PKCE and one use of a code included, and do on
// demand what a provider must not: see Behaviour, GitHubBehaviour and Fault. What a
// browser and its user would do is a call of Authorize: it takes the URL that the
// program under test sends the browser to, and returns the one that the provider sends
// it back to.
//
// The package knows nothing of package oauth. Only tests import it.
//
// Start reading at NewIssuer in issuer.go and NewGitHub in github.go.
package oauthtest
