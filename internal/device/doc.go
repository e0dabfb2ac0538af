// Package device owns known devices: browsers that have logged in to an account before. A known device has rate-limit budgets of its own, so that strangers who use up the
// budgets of an account cannot lock out its owner.
//
// The package creates and checks the proofs that a device keeps, and chooses the budgets for an
// attempt. The server stores no devices: an account has a device generation, and a new generation
// invalidates all earlier proofs. A proof never replaces a password.
//
// The cookie with the proofs, the rate-limited routes and the response headers belong to package
// httpapi. Counting belongs to package ratelimit.
//
// Start reading at Signer in proof.go, then Limiter.Take in limiter.go.
package device
