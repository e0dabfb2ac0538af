// Package seal signs records that are kept in Redis for a few minutes: unfinished sign-ins with a
// provider, and logins that wait for a second factor. Write access to Redis is then not enough to
// forge one.
//
// It owns the keys and the MAC. It does not know what a record means: that is up to the package that
// stores it. The records of sessions have a MAC of their own: see package session.
//
// Start reading at Keys.
package seal
