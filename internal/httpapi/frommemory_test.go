package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"latchkey/internal/apitest"
	"latchkey/internal/devstore/storetest"
	"latchkey/internal/httpapi"
	"latchkey/internal/testkit"
)

// memoryPaths are the routes that are answered from memory.
var memoryPaths = []string{"/auth/session", "/auth/me", "/auth/verify", "/profile"}

// An answer from memory is the same as that of the router, and anything unusual is left to the router.
func TestAnswersFromMemory(t *testing.T) {
	t.Parallel()

	const listed = "https://app.example.com"
	redis := storetest.StartRedis(t).Redis
	s := apitest.New(t, apitest.Options{SessionCache: true, Redis: &redis, Origins: []string{listed}, TrustedProxies: []string{"192.0.2.0/24"}})
	ann := s.Register("ann@example.com")
	bob := s.Register("bob@example.com")
	for _, c := range []*apitest.Client{ann, bob} {
		awaitInMemory(s, c.Token)
		testkit.Eventually(t, "the account in memory", func() bool {
			before := s.Cache.Stats().Misses
			c.Do("GET", "/auth/me", nil).Want(http.StatusOK)

			return s.Cache.Stats().Misses == before
		})
	}

	cookie := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header["Cookie"] = strings.Split(value, "|") }
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	lines := func(n int) func(*http.Request) {
		return func(r *http.Request) {
			for i := len(r.Header); i < n; i++ {
				r.Header.Set("X-"+strconv.Itoa(i), "x")
			}
		}
	}

	for name, tc := range map[string]struct {
		change     func(r *http.Request)
		fromMemory bool
	}{
		"plain":                    {func(*http.Request) {}, true},
		"HTTP/2":                   {func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, true},
		"query":                    {func(r *http.Request) { r.URL.RawQuery = "x=1" }, true},
		"listed origin":            {header("Origin", listed), true},
		"other origin":             {header("Origin", "https://evil.example"), true},
		"behind a proxy":           {header("X-Forwarded-For", "203.0.113.7"), true},
		"other cookies":            {cookie("a=b; sid=" + ann.Token + "; c=d"), true},
		"the first of cookies":     {cookie("sid=" + ann.Token + "; a=b"), true},
		"200 cookies":              {cookie(strings.Repeat("a=b; ", httpapi.MaxCookies-1) + "sid=" + ann.Token), true},
		"100 header lines":         {lines(httpapi.MaxHeaders), true},
		"HTTP/1.0":                 {func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }, false},
		"HEAD":                     {func(r *http.Request) { r.Method = http.MethodHead }, false},
		"POST":                     {func(r *http.Request) { r.Method = http.MethodPost }, false},
		"OPTIONS":                  {func(r *http.Request) { r.Method = http.MethodOptions }, false},
		"a body":                   {func(r *http.Request) { r.ContentLength, r.Body = 1, http.NoBody }, false},
		"a chunked body":           {func(r *http.Request) { r.ContentLength, r.TransferEncoding = -1, []string{"chunked"} }, false},
		"trailing slash":           {func(r *http.Request) { r.URL.Path += "/" }, false},
		"escaped path":             {func(r *http.Request) { r.URL.RawPath = strings.Replace(r.URL.Path, "/", "/%61", 1) }, false},
		"no cookie":                {cookie("a=b"), false},
		"two sessions":             {cookie("sid=" + ann.Token + "; sid=" + bob.Token), false},
		"two lines":                {cookie("sid=" + ann.Token + "|a=b"), false},
		"the same cookie twice":    {cookie("sid=" + ann.Token + "|sid=" + ann.Token), false},
		"two sessions, one odd":    {cookie("sid=" + ann.Token + "; sid =" + bob.Token), false},
		"two sessions, first odd":  {cookie("sid =" + bob.Token + "; sid=" + ann.Token), false},
		"quotes":                   {cookie(`sid="` + ann.Token + `"`), false},
		"no space":                 {cookie("a=b;sid=" + ann.Token), false},
		"a malformed token":        {cookie("sid=" + ann.Token[1:]), false},
		"an unknown token":         {cookie("sid=" + strings.Repeat("A", len(ann.Token))), false},
		"201 cookies":              {cookie(strings.Repeat("a=b; ", httpapi.MaxCookies) + "sid=" + ann.Token), false},
		"101 header lines":         {lines(httpapi.MaxHeaders + 1), false},
		"another cookie's name":    {cookie("xsid=" + ann.Token), false},
		"the cookie in a value":    {cookie(`a="b; sid=` + ann.Token + `"`), false},
		"a session ID for a token": {cookie("sid=" + ann.SessionID()), false},
	} {
		for _, path := range memoryPaths {
			request := func() *http.Request {
				r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
				r.Header.Set("Cookie", "sid="+ann.Token)
				tc.change(r)

				return r
			}

			if got := httptest.NewRecorder(); s.API.AnswerFromMemory(got, request()) != tc.fromMemory {
				t.Errorf("%s %s: answered from memory: got %v", name, path, !tc.fromMemory)
			}

			got := respond(s.API.ServeHTTP, request())
			want := respond(s.API.Route, request())
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s: (-router +got):\n%s", name, path, diff)
			}
		}
	}
}

// reply is a response without its request ID.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

func respond(handle http.HandlerFunc, r *http.Request) reply {
	w := httptest.NewRecorder()
	handle(w, r)
	id := w.Header().Get("X-Request-Id")
	w.Header().Set("X-Request-Id", strconv.Itoa(len(id))+" characters")

	return reply{w.Code, w.Header(), strings.ReplaceAll(w.Body.String(), id, "")}
}

// Answers from memory are counted. There are none for sessions that a request extends or that have timed
// out, for accounts that are disabled, or while the server drains.
func TestLeftToTheRouter(t *testing.T) {
	t.Parallel()

	redis := storetest.StartRedis(t).Redis
	s := apitest.New(t, apitest.Options{SessionCache: true, Redis: &redis})
	isAnswered := func(path, token string) bool {
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Header.Set("Cookie", "sid="+token)

		return s.API.AnswerFromMemory(httptest.NewRecorder(), r)
	}

	ann := s.Register("ann@example.com")
	awaitAnswers := func() {
		testkit.Eventually(t, "answers from memory", func() bool {
			ann.Do("GET", "/auth/me", nil).Want(http.StatusOK)

			return isAnswered("/auth/session", ann.Token) && isAnswered("/auth/me", ann.Token)
		})
	}
	awaitAnswers()

	const counter = `latchkey_http_requests_total{method="GET",route="/auth/session",status="200"}`
	counted := func() int {
		n, err := strconv.Atoi(s.Metric(counter))
		testkit.NoError(t, err)

		return n
	}
	before := counted()
	isAnswered("/auth/session", ann.Token)
	if got := counted(); got != before+1 {
		t.Errorf("%s: got %d after an answer, want %d", counter, got, before+1)
	}

	// The touch interval is a minute. A session from the future is refused, because our clock is wrong.
	for _, passed := range []time.Duration{time.Minute, apitest.IdleTimeout, -10 * time.Minute} {
		s.Advance(passed)
		if isAnswered("/auth/session", ann.Token) {
			t.Errorf("after %s: answered from memory", passed)
		}
		s.Advance(-passed)
	}

	_, err := s.Users.SetActive(t.Context(), s.Account("ann@example.com").ID, false)
	testkit.NoError(t, err)
	_, err = s.Users.Snapshot(t.Context(), s.Account("ann@example.com").ID) // now it is in memory again
	testkit.NoError(t, err)
	if !isAnswered("/auth/session", ann.Token) || isAnswered("/auth/me", ann.Token) {
		t.Error("disabled account: want an answer from memory for the session only")
	}

	s.API.Drain()
	if isAnswered("/auth/session", ann.Token) {
		t.Error("answered from memory while the server drains")
	}
}
