// Package oauth owns signing in with someone else's account: at Google, at GitHub,
// or at any provider that speaks OpenID Connect.
//
// It sends a browser to a provider, and makes of the answer that comes back what is
// true of who signed in there: user.Claims. What that means for accounts here is
// package auth's, cookies and URLs of ours are package httpapi's.
//
// It is a client of the authorization code flow with PKCE, state, nonce and iss (RFC
// 6749, 7636, 9207, 9700; OpenID Connect Core 1.0; OWASP ASVS 5.0 chapters 9 and 10).
// What a flow needs to know until the browser is back waits in Redis, once; what makes
// it usable is only in the browser's cookie. No token of a provider is kept.
//
// Everything that a provider answers is judged before it is believed, and bounded in
// time and size. oauthtest has providers for tests.
//
// Start reading at Service.Start and Service.Finish in flow.go; then callback.go,
// oidc.go with discovery.go and idtoken.go, and github.go. client.go is how providers
// are asked.
package oauth
