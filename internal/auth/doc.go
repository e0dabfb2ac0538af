// Package auth signs users in and changes their credentials: passwords, email addresses,
// linked external accounts and second factors. Each flow has a file of its own.
//
// It owns the order of the steps in every sign-in (Service.signIn) and in every change that
// ends the sessions of an account (Service.withSessionsEnded). It starts and ends sessions
// itself, so callers cannot forget to.
//
// It stores nothing. Accounts belong to package user, sessions to package session, password hashing
// to package hashpool, pending logins to package pending, and the email queue to package mail. It knows nothing about HTTP, rate
// limits of requests or security events: those belong to package httpapi, its main caller. It
// counts nothing except wrong passwords and codes: see failures.go and secondfactor.go.
//
// Start reading at Service.SignIn in login.go, then signin.go, complete.go and change.go.
package auth
