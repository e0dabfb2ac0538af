package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"latchkey/internal/apitest"
	"latchkey/internal/httpapi"
	"latchkey/internal/session"
)

// Redis is queried only for session cookies that have the form of a token, and not for too many
// of them. Here it is down, so a query results in a 503.
func FuzzSessionCookie(f *testing.F) {
	const maxTokens = 8
	token := strings.Repeat("A", 43)
	for _, header := range []string{"", "sid=", "sid=" + token, `sid="` + token + `"`, "sid=" + token + "; sid=" + token, "a=b;sid=" + token + " ;", "SID=" + token, "sid=" + token[:42] + "B", "sid=" + token + "; sid=A" + token[1:42] + "E; sid=;sid=s%3A" + token} {
		f.Add(header, "")
		f.Add(header, "sid="+token)
	}

	s := apitest.New(f, apitest.Options{Redis: apitest.UnreachableRedis, MongoURI: "mongodb://127.0.0.1:1/x"})
	f.Fuzz(func(t *testing.T, first, second string) {
		r := httptest.NewRequest(http.MethodGet, "/auth/session", nil)
		r.Header["Cookie"] = []string{first, second}
		tokens := map[string]bool{} // the different ones that may be a session
		for _, line := range r.Header["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.TrimSpace(name) == "sid" {
					if token := strings.Trim(strings.TrimSpace(value), `"`); session.IsToken(token) {
						tokens[token] = true
					}
				}
			}
		}

		w := httptest.NewRecorder()
		s.API.ServeHTTP(w, r)
		s.Log.Reset()

		switch {
		case w.Code == http.StatusRequestHeaderFieldsTooLarge && strings.Count(first+second, ";")+2 > httpapi.MaxCookies:
		case w.Code == http.StatusServiceUnavailable && len(tokens) > 0:
			if len(w.Header()["Set-Cookie"]) != 0 {
				t.Errorf("%q and %q: got a cookie while Redis is down, want none", first, second)
			}
		case w.Code == http.StatusUnauthorized && (len(tokens) == 0 || len(tokens) > maxTokens):
			for _, set := range w.Header()["Set-Cookie"] {
				if !strings.HasPrefix(set, "sid=; ") || !strings.Contains(set, "Max-Age=0") {
					t.Errorf("%q and %q: got Set-Cookie %s, want the cookie cleared", first, second, set)
				}
			}
		default:
			t.Errorf("%q and %q: got %d for %d tokens", first, second, w.Code, len(tokens))
		}
	})
}
