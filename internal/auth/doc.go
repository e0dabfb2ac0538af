// Package auth proves who someone is with a password, and keeps that proof
// sound: one file per flow, and the hashing that they share in password.go.
//
// It knows accounts (package user) and passwords. It does not know sessions or
// HTTP: package httpapi begins a session for whom this package has proved.
//
// Start reading at Service.Login in login.go.
package auth
