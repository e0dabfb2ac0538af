package returnto

import (
	"net/url"
	"strings"

	"latchkey/internal/origin"
)

// MaxLength is the maximum length of a return URL in bytes.
const MaxLength = 2048

// Check returns the URL to which a browser returns, if it is allowed: a URL under a trusted origin, or
// a path under the first listed one.
//
// Browsers parse URLs differently from net/url: they drop tabs and line breaks and treat a
// backslash as a slash. So ambiguous URLs are refused: a URL must begin with exactly a trusted
// origin, and the next character must end that origin.
func Check(trusted origin.Trusted, given string) (to string, ok bool) {
	ambiguous := func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }
	if given == "" || len(given) > MaxLength || len(trusted.Listed) == 0 || strings.ContainsFunc(given, ambiguous) {
		return "", false
	}

	if strings.HasPrefix(given, "/") && !strings.HasPrefix(given, "//") {
		given = trusted.Listed[0] + given
	}
	if !trusted.Contains(originPart(given)) {
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

// originPart returns what precedes the path, the query and the fragment of a URL.
func originPart(given string) string {
	scheme, rest, _ := strings.Cut(given, "://")
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}

	return scheme + "://" + rest
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
