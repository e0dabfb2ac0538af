// Package factor implements second factors: the codes of authenticator apps (RFC 6238) and
// recovery codes.
//
// It owns their algorithms and formats: secrets, codes and the time in which a code is valid, the
// URI and the QR code that authenticator apps read, and the form and hash of recovery codes. All
// functions are pure, apart from the random values of NewSecret and NewRecoveryCodes.
//
// The package stores nothing. Package user stores the factors of an account and the last accepted
// step, so that each code works only once. Package datakey encrypts the secrets of apps. Attempts,
// limits and what a factor is required for belong to package auth.
//
// Start reading at Match in totp.go, then NewRecoveryCodes in recovery.go.
package factor
