package returnto

import (
	"net/url"
	"slices"
	"strings"
)

// MaxLength is the maximum length of a return URL in bytes.
const MaxLength = 2048

// Check returns the URL to which a browser returns, if it is allowed: a URL under one of the origins,
// or a path under the first one.
//
// Browsers parse URLs differently from net/url: they drop tabs and line breaks and treat a
// backslash as a slash. So ambiguous URLs are refused: a URL must begin with exactly an
// origin, and the next character must end that origin.
func Check(origins []string, given string) (to string, ok bool) {
	ambiguous := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }
	if given == "" || len(given) > MaxLength || len(origins) == 0 || strings.ContainsFunc(given, ambiguous) {
		return "", false
	}

	if strings.HasPrefix(given, "/") && !strings.HasPrefix(given, "//") {
		given = origins[0] + given
	}

	isUnder := func(origin string) bool {
		rest, ok := strings.CutPrefix(given, origin)
		return ok && (rest == "" || strings.ContainsRune("/?#", rune(rest[0])))
	}
	if !slices.ContainsFunc(origins, isUnder) {
		return "", false
	}

	u, err := url.Parse(given)
	if err != nil || u.Query().Has("error") { // only WithError may add this parameter
		return "", false
	}
	if u.Path == "" {
		u.Path = "/"
	}

	return u.String(), true
}

// WithError adds the code of a failure to a URL from Check.
func WithError(to, code string) string {
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
