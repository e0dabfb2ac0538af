package httpapi

import (
	"net/url"
	"strings"
)

// maxReturnTo is the longest address to go back to, in bytes.
const maxReturnTo = 2048

// home is where a browser is sent that names no other address.
func (o *origins) home() string {
	if len(o.listed) == 0 {
		return "/" // only where there is no provider, and so no way here
	}
	return o.listed[0] + "/"
}

// returnTo is the one place that decides where a browser may be sent at the end of a
// sign-in (OWASP ASVS 5.0 3.7.2): to an address under one of the listed origins, or to a
// path under the first. Empty is home.
//
// Browsers read addresses otherwise than net/url does: they drop tabs and line breaks and
// take a backslash for a slash. So nothing is read here that could be read in two ways:
// the address must begin with a listed origin, letter by letter, and where that ends must
// be clear from the next character.
func (o *origins) returnTo(given string) (to string, ok bool) {
	if given == "" {
		return o.home(), true
	}
	if len(given) > maxReturnTo || len(o.listed) == 0 || strings.ContainsFunc(given, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
		return "", false
	}
	if strings.HasPrefix(given, "/") && !strings.HasPrefix(given, "//") {
		given = o.listed[0] + given
	}
	for _, origin := range o.listed {
		rest, under := strings.CutPrefix(given, origin)
		if under && (rest == "" || strings.ContainsRune("/?#", rune(rest[0]))) {
			u, err := url.Parse(given)
			if err != nil || u.Query().Has("error") { // which is ours to say
				return "", false
			}
			if u.Path == "" {
				u.Path = "/"
			}
			return u.String(), true
		}
	}
	return "", false
}

// withError adds the code of a failure to an address that returnTo has returned.
func withError(to, code string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "error=" + url.QueryEscape(code)
	return u.String()
}
