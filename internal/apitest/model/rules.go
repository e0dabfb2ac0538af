package model

import (
	"latchkey/internal/apitest"
	"latchkey/internal/session"
)

// op is an operation. Accounts and tokens are indexes in the world; -1 is no token.
type op struct {
	kind           string
	client         int // receives the cookie of the response; -1 for none
	server         int
	account        int // the account that it uses or changes
	token          int // the token that is sent
	target         int // a token of the session that the request names
	password, next string

	pending int  // a pending login that the request names; -1 for none
	trust   int  // a trusted device that the request names; -1 for none
	code    code // of a second factor
	app     *app // that is added or removed
	trusts  bool // the user trusts the device
}

// scope defines which sessions an operation ends.
type scope byte

const (
	noSession     scope = iota
	ownToken            // the session continues under a new token
	ownSession          // the client's session
	targetSession       // the session that the request names
	otherSessions       // all of the account's sessions except for the client's
	allSessions         // all of the account's sessions
	everySession        // all sessions of all accounts
)

// revokes reports whether sessions that are being started at the same time also end.
func (s scope) revokes() bool { return s >= otherSessions }

// targets returns the tokens in the scope of an operation.
func (w *world) targets(o op, s scope) []int {
	switch {
	case s == ownToken && o.token >= 0:
		return []int{o.token}
	case s == ownSession:
		return w.sessionOf(o.token)
	case s == targetSession && w.tokens[o.target].account == o.account:
		return w.sessionOf(o.target)
	case s == otherSessions && o.token >= 0:
		return w.tokensOf(o.account, w.tokens[o.token].root)
	case s == allSessions:
		return w.tokensOf(o.account, -1)
	case s == everySession:
		return w.filterTokens(func(token) bool { return true })
	}

	return nil
}

// rule describes a kind of operation. judge and learn contain what holds for all kinds.
type rule struct {
	request       string // method and path; empty for an operator, whose stores are never down
	public        bool   // needs no session
	account       bool   // needs MongoDB
	startsSession bool   // may start a session or replace its token
	background    bool   // does not extend the session
	forUnverified bool   // needs no verified email

	// allowed reports whether the operation succeeds. If it is nil, every operation does.
	allowed func(w *world, o op, now interval) fact
	success string // the status; the default is 200
	cookie  string // what a success does to the cookie; the default is nothing
	refusal string // the status and the code
	// refusalOf returns the refusal if it depends on what is known. It may be nil.
	refusalOf func(w *world, o op, a apitest.Response, now interval) string
	// check returns what else is wrong with a success, or "". It may be nil.
	check func(w *world, o op, a apitest.Response, now interval) string

	// ends defines which sessions may end. If reason is set, they certainly end if the
	// operation succeeds.
	ends   scope
	reason session.Reason
	// forgets defines which sessions lose their record even if they have timed out. The server
	// then no longer knows the reason.
	forgets scope

	// may records what else the operation may change whatever its response. It may be nil.
	may func(w *world, o op)
	// learn and learnRefusal record what else follows from a response, except for new
	// tokens. They may be nil.
	learn, learnRefusal func(w *world, o op, a apitest.Response, now interval)
}

func (r rule) operator() bool { return r.request == "" }

// operations are the kinds of operations in a history.
var operations = map[string]rule{
	"register": {
		request: "POST /auth/register", public: true, account: true, startsSession: true,
		allowed: isUnused, success: "201", cookie: setsCookie, refusal: "409 email_taken",
		ends: ownSession, may: mayRegister, learn: learnRegister, learnRefusal: learnUsed,
	},
	"login": {
		request: "POST /auth/login", public: true, account: true, startsSession: true,
		allowed: canLogin, cookie: setsCookie, refusal: "401 invalid_credentials", check: checkLogin,
		ends: ownSession, may: mayLogin, learn: learnLogin, learnRefusal: learnLoginRefused,
	},

	"session":            {request: "GET /auth/session", forUnverified: true, check: checkSession},
	"background session": {request: "GET /auth/session", forUnverified: true, background: true, check: checkBackground},
	"me":                 {request: "GET /auth/me", account: true, check: checkUser},
	"list":               {request: "GET /auth/sessions", check: checkList, learn: learnList},

	"rotate": {request: "POST /auth/rotate-session", startsSession: true, cookie: setsCookie, check: checkRenewed, ends: ownToken},
	"step up": {
		request: "POST /auth/step-up", account: true, startsSession: true, forUnverified: true,
		allowed: knowsPassword, cookie: setsCookie, refusal: "401 wrong_password", check: checkRenewed,
		ends: ownToken, learn: learnPassword, learnRefusal: learnWrongPassword,
	},
	"complete login": {
		request: "POST /auth/login/factor", public: true, account: true, startsSession: true,
		allowed: canComplete, cookie: setsCookie, refusalOf: completeRefusal, check: checkComplete,
		ends: ownSession, may: mayComplete, learn: learnComplete, learnRefusal: learnCompleteRefused,
	},
	"step up with factor": {
		request: "POST /auth/step-up", account: true, startsSession: true, forUnverified: true,
		allowed: canStepUp, cookie: setsCookie, refusalOf: stepUpRefusal, check: checkRenewed,
		ends: ownToken, learn: learnStepUp, learnRefusal: learnStepUpRefused,
	},
	"enrol": {
		request: "POST /auth/totp/theapp/confirm", account: true, startsSession: true,
		allowed: isRecent, cookie: setsCookie, refusal: "403 step_up_required", check: checkEnrolled,
		ends: allSessions, may: mayEnrol, learn: learnEnrol,
	},
	"remove factor": {
		request: "DELETE /auth/factors/theapp", account: true, startsSession: true,
		allowed: isRecent, success: "204", cookie: setsCookie, refusal: "403 step_up_required",
		ends: allSessions, may: mayRemove, learn: learnRemove,
	},
	"change password": {
		request: "POST /auth/password/change", account: true, startsSession: true,
		allowed: canChange, cookie: setsCookie, refusalOf: changeRefusal, check: checkRenewed,
		ends: allSessions, may: mayChange, learn: learnChange, learnRefusal: learnChangeRefused,
	},

	"logout": {request: "POST /auth/logout", forUnverified: true, cookie: dropsCookie, check: checkLogout, ends: ownSession, reason: session.LoggedOut},
	"revoke": {
		request: "DELETE /auth/sessions/",
		allowed: canRevoke, success: "204", refusal: "404 not_found",
		ends: targetSession, learn: learnRevoke, learnRefusal: learnNotFound,
	},
	"revoke others": {request: "DELETE /auth/sessions", check: checkRevoked, ends: otherSessions, reason: session.Revoked},
	"revoke all": {
		request: "DELETE /auth/sessions?scope=all",
		cookie:  dropsCookie, check: checkRevoked, ends: allSessions, reason: session.Revoked,
	},
	"delete": {
		request: "DELETE /profile", account: true,
		allowed: isRecent, success: "204", cookie: dropsCookie, refusal: "403 step_up_required",
		ends: allSessions, reason: session.AccountDeleted, may: mayDelete, learn: learnDelete,
	},

	"operator revokes": {
		allowed: canRevoke, success: "204", refusal: "404 not_found",
		ends: targetSession, learn: learnRevoke, learnRefusal: learnNotFound,
	},
	"operator deletes key":        {ends: targetSession, forgets: targetSession, learn: learnDeleteKey},
	"operator revokes user":       {ends: allSessions, reason: session.Revoked},
	"operator revokes everything": {ends: everySession, reason: session.Revoked, forgets: everySession},
	"operator sets password":      {ends: allSessions, may: mayChange, learn: learnChange},
	"operator resets factors":     {ends: allSessions, reason: session.FactorsChanged, may: mayRemove, learn: learnReset},
	"operator disables":           {ends: allSessions, reason: session.AccountDisabled, may: mayBeActive, learn: learnDisable},
	"operator verifies":           {may: mayVerify, learn: learnVerify},
	"operator enables":            {may: mayBeActive, learn: learnEnable},
}
