package model

import (
	"net/http"

	"latchkey/internal/apitest"
)

// isUnverified reports whether a request was refused because the email is not verified.
func isUnverified(a apitest.Response) bool {
	return a.Status == http.StatusForbidden && a.JSON["code"] == "email_not_verified"
}

// needsVerified reports whether an operation needs a session with a verified email.
func (w *world) needsVerified(o op) bool {
	r := operations[o.kind]

	return w.verifiedOnly && !r.public && !r.operator() && !r.forUnverified && o.token >= 0
}

// readsAccount reports whether the server may have to read the account to know whether the email is
// verified. A session that began with a verified email shows it.
func (w *world) readsAccount(o op) bool {
	return w.needsVerified(o) && w.tokens[o.token].verified != yes
}

// unverified reports whether an operation is refused because the email is not verified.
func (w *world) unverified(o op) fact {
	if !w.readsAccount(o) {
		return no
	}

	return yes - w.accounts[w.tokens[o.token].account].verified
}

func mayVerify(w *world, o op) {
	account := &w.accounts[o.account]
	account.verified = max(account.verified, maybe)
}

func learnVerify(w *world, o op, _ apitest.Response, _ interval) {
	w.accounts[o.account].verified = yes
}
