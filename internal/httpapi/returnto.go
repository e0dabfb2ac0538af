package httpapi

import (
	"net/url"
	"strings"
)

// maxReturnTo is the maximum length of a return URL, in bytes.
const maxReturnTo = 2048

const msgInvalidReturnTo = "The return URL must be a path, or a URL under an origin of FRONTEND_URL."

// home returns the URL to which a browser returns by default.
func (o *origins) home() string {
	if len(o.trusted.Listed) == 0 {
		return "/" // unused, since there are no providers either
	}
	return o.trusted.Listed[0] + "/"
}

// returnTo returns the URL to which a browser returns after a sign-in, if it is allowed: a URL
// under a trusted origin, or a path under the first listed one. Empty means home. Nothing else
// decides about redirects (OWASP ASVS 5.0 3.7.2).
//
// Browsers parse URLs differently from net/url: they drop tabs and line breaks and treat a
// backslash as a slash. So ambiguous URLs are refused: a URL must begin with exactly a trusted
// origin, and the next character must end that origin.
func (o *origins) returnTo(given string) (to string, ok bool) {
	if given == "" {
		return o.home(), true
	}

	ambiguous := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }
	if len(given) > maxReturnTo || len(o.trusted.Listed) == 0 || strings.ContainsFunc(given, ambiguous) {
		return "", false
	}

	if strings.HasPrefix(given, "/") && !strings.HasPrefix(given, "//") {
		given = o.trusted.Listed[0] + given
	}
	if !o.trusted.Contains(originPart(given)) {
		return "", false
	}

	u, err := url.Parse(given)
	if err != nil || u.Query().Has("error") { // only withError may add this parameter
		return "", false
	}
	if u.Path == "" {
		u.Path = "/"
	}

	return u.String(), true
}

// originPart returns what precedes the path, the query and the fragment of a URL.
func originPart(given string) string {
	scheme, rest, _ := strings.Cut(given, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}

	return scheme + "://" + rest
}

// withError adds the code of a failure to a URL from returnTo.
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
