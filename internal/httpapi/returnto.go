package httpapi

import (
	"slices"

	"latchkey/internal/origin"
	"latchkey/internal/returnto"
)

const msgInvalidReturnTo = "The return URL must be a path, or a URL under an origin of FRONTEND_URL."

// home returns the URL to which a browser returns by default.
func (o *origins) home() string {
	listed := o.returnOrigins().Listed
	if len(listed) == 0 {
		return "/" // unused, since there are no providers either
	}

	return listed[0] + "/"
}

// returnOrigins returns the origins to which a browser may return: the trusted ones, and that of the
// built-in pages.
func (o *origins) returnOrigins() origin.Trusted {
	to := o.trusted
	if o.pages != "" {
		to.Listed = append(slices.Clone(to.Listed), o.pages)
	}

	return to
}

// returnTo returns the URL to which a browser returns after a sign-in, if it is allowed: see
// returnto.Check. Empty means home.
func (o *origins) returnTo(given string) (to string, ok bool) {
	if given == "" {
		return o.home(), true
	}

	return returnto.Check(o.returnOrigins(), given)
}
