// Package returnto decides where a browser may return after a sign-in. The API and the built-in pages
// use it, so that nothing else decides about redirects (OWASP ASVS 5.0 3.7.2).
//
// The package does not know where the allowed origins come from: package httpapi takes them from the
// settings.
//
// Start reading at Check.
package returnto
