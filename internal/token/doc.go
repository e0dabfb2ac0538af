// Package token creates and validates opaque random tokens: session cookies, one-time tokens
// in emails, the secrets of a sign-in with a provider, and device IDs.
//
// It owns their randomness, their encoding (unpadded base64url, with exactly one valid
// encoding per token) and the hash under which they are stored. It does not know what a
// token is for and stores nothing: that is up to the package that issues it.
//
// It imports no other package of this module.
//
// Start reading at New.
package token
