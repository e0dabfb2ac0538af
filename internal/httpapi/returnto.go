package httpapi

import (
	"net/url"
	"slices"
	"strings"

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

	to, ok = returnto.Check(o.returnOrigins(), given)
	if !ok || o.mayStartSignIn(to) {
		return "", false
	}

	return to, true
}

// mayStartSignIn reports whether a URL from returnto.Check could lead to a route that starts a sign-in
// with a provider. The built-in pages redirect a signed-in user to the URL without a click, and their
// origin is trusted. So through them, any website could replace the user's session.
//
// Browsers and proxies resolve dots and encoded characters in different ways, so paths with these are
// refused on the origin of the pages.
func (o *origins) mayStartSignIn(to string) bool {
	u, err := url.Parse(to)
	if err != nil {
		return true
	}
	if written, _ := origin.Of(u); o.pages == "" || written != o.pages {
		return false
	}

	escaped := strings.ToLower(u.EscapedPath())
	for _, ambiguous := range []string{"//", "/.", "%2e", "%2f", "%5c"} {
		if strings.Contains(escaped, ambiguous) {
			return true
		}
	}

	return strings.HasPrefix(u.Path, o.prefix+"/auth/")
}
