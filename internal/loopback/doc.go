// Package loopback recognizes hosts that are this machine itself. Traffic to them never
// leaves the machine, so some rules about encryption do not apply: settings may contain http
// URLs, the password for the mail server may be sent without TLS, and pages may be served
// over http.
//
// The package does not resolve names and does not know those rules, which belong to its
// callers.
//
// Start reading at Host.
package loopback
