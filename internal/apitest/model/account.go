package model

import "slices"

// account is an existing account, or one that a history may create.
type account struct {
	name, email, id string
	exists, active  fact
	verified        fact     // the email
	passwords       []string // the possible passwords; never modified in place, because clones share it
	factor          fact     // needs a second factor to log in
	app             *app     // that the account has or may have; nil before the first one
	// lostTokens is the maximum number of live sessions whose token was lost with a response.
	lostTokens int
	// changed are the passwords set by the operations being judged.
	changed []string
	// revoking is set while all sessions are being revoked, so that a login may fail.
	revoking bool
}

// hasPassword reports whether a password is the account's.
func (a account) hasPassword(password string) fact {
	switch {
	case !slices.Contains(a.passwords, password):
		return no
	case len(a.passwords) > 1:
		return maybe
	}

	return yes
}

// mayHave records that a password may be the account's.
func (a *account) mayHave(password string) {
	if !slices.Contains(a.passwords, password) {
		a.passwords = append(slices.Clone(a.passwords), password)
	}
}

// hasNot records that a password is not the account's.
func (a *account) hasNot(password string) {
	a.passwords = slices.DeleteFunc(slices.Clone(a.passwords), func(s string) bool { return s == password })
}
