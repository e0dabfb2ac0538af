package httpapi

import "latchkey/internal/returnto"

const msgInvalidReturnTo = "The return URL must be a path, or a URL under an origin of FRONTEND_URL."

// home returns the URL to which a browser returns by default.
func (o *origins) home() string {
	returns := o.returns()
	if len(returns) == 0 {
		return "/" // unused, since there are no providers either
	}

	return returns[0] + "/"
}

// returns lists the origins to which a browser may return: the listed ones, and that of the built-in
// pages.
func (o *origins) returns() []string {
	if o.pages == "" {
		return o.listed
	}

	return append(o.listed[:len(o.listed):len(o.listed)], o.pages)
}

// returnTo returns the URL to which a browser returns after a sign-in, if it is allowed: see
// returnto.Check. Empty means home.
func (o *origins) returnTo(given string) (to string, ok bool) {
	if given == "" {
		return o.home(), true
	}

	return returnto.Check(o.returns(), given)
}
