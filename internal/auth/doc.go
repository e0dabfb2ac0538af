// Package auth proves who someone is with a password, and keeps that proof
// sound: one file per flow, and the hashing that they share in password.go.
//
// It knows accounts (package user), passwords, and the mail that goes to their
// owners (package mail). It does not know sessions or HTTP: package httpapi begins a
// session for whom this package has proved, and says how sessions are ended.
//
// Start reading at Service.Login in login.go.
package auth
