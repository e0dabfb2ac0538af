// Package httpapi is everything HTTP and nothing else: the routes, the handlers,
// how a failure looks from outside, the cookie, and the OpenAPI document with
// its page. Only here is a status code known.
//
// It has no rules of its own: who may log in is package auth's, what a session
// is is package session's, what an account is is package user's.
//
// Start reading at routes.go, which lists every URL and which of them are
// public, then login.go for a handler, then errors.go for what becomes of an
// error.
package httpapi
